// @confluentinc/kafka-javascript as a child process: one command per line of JSON on standard input, one answer per line on
// standard output, as tests/java/Driver.java has it. Bytes travel as base64. It is librdkafka with the face of kafkajs.
'use strict'

const readline = require('node:readline')
const kafka = require('@confluentinc/kafka-javascript')
const { Kafka, logLevel } = kafka.KafkaJS

const ACKS = { all: -1, 1: 1, 0: 0 }
const opened = new Map()

const bytes = text => (text == null ? null : Buffer.from(text, 'base64'))
const text = data => (data == null ? null : Buffer.from(data).toString('base64'))

function build (login) {
  const sasl = {
    NONE: undefined,
    PLAIN: { mechanism: 'plain', username: login.username, password: login.token },
    OAUTHBEARER: {
      mechanism: 'oauthbearer',
      oauthBearerProvider: async () => ({
        value: login.token, principal: login.username || 'driver', lifetime: Date.now() + 3600000, extensions: login.extensions
      })
    }
  }[login.mechanism]
  return new Kafka({
    kafkaJS: { clientId: 'confluent-js', brokers: [login.bootstrap], sasl, ssl: false, logLevel: logLevel.NOTHING },
    'socket.timeout.ms': 8000
  })
}

// A name that is there twice has a list of values.
function toHeaders (pairs) {
  const headers = {}
  for (const [name, value] of pairs) (headers[name] ??= []).push(bytes(value))
  return headers
}

function fromHeaders (headers) {
  return Object.entries(headers ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map(one => [name, text(one)]))
}

class Producer {
  async open (command) {
    this.producer = build(command.login).producer({
      kafkaJS: {
        acks: ACKS[command.acks], compression: command.codec, allowAutoTopicCreation: false,
        idempotent: Boolean(command.idempotent || command.transactional),
        ...(command.transactional ? { transactionalId: command.transactional } : {})
      },
      'linger.ms': 20, 'message.timeout.ms': 12000, 'delivery.report.only.error': false
    })
    await this.producer.connect()
  }

  async send (command) {
    const target = this.transaction ?? this.producer
    const sent = command.records.map(one => target.send({
      topic: command.topic,
      messages: [{ partition: command.partition, key: bytes(one.key), value: bytes(one.value), headers: toHeaders(one.headers) }]
    }).then(
      ([found]) => ({ partition: command.partition, offset: Number(found?.baseOffset ?? found?.offset ?? -1) }),
      problem => ({ error: describe(problem) })))
    return { results: await Promise.all(sent) }
  }

  async step (name) {
    if (name === 'begin') {
      this.transaction = await this.producer.transaction()
    } else {
      const transaction = this.transaction
      this.transaction = undefined
      await transaction[name]()
    }
  }

  close () { return this.producer.disconnect() }
}

class Consumer {
  async open (command) {
    this.waiting = []
    this.taken = new Map()
    this.consumer = build(command.login).consumer({
      kafkaJS: {
        groupId: command.group, fromBeginning: true, autoCommit: false, allowAutoTopicCreation: false,
        readUncommitted: command.isolation !== 'read_committed'
      },
      'fetch.wait.max.ms': 100,
      ...(command.protocol === 'consumer' ? { 'group.protocol': 'consumer' } : { 'session.timeout.ms': 10000, 'heartbeat.interval.ms': 500 })
    })
    await this.consumer.connect()
  }

  async subscribe (topic) {
    await this.consumer.subscribe({ topic })
    await this.consumer.run({
      eachMessage: async ({ topic, partition, message }) => {
        this.waiting.push({
          topic, partition, offset: Number(message.offset), key: text(message.key), value: text(message.value),
          headers: fromHeaders(message.headers)
        })
        this.wake?.()
      }
    })
  }

  async poll (count, seconds) {
    const deadline = Date.now() + seconds * 1000
    const records = []
    while (records.length < count && Date.now() < deadline) {
      if (this.waiting.length === 0) {
        await new Promise(resolve => { this.wake = resolve; setTimeout(resolve, Math.min(100, deadline - Date.now())) })
      }
      records.push(...this.waiting.splice(0, count - records.length))
    }
    for (const one of records) this.taken.set(`${one.topic} ${one.partition}`, one)
    return { records }
  }

  async commit () {
    await this.consumer.commitOffsets([...this.taken.values()].map(
      ({ topic, partition, offset }) => ({ topic, partition, offset: String(offset + 1) })))
  }

  close () { return this.consumer.disconnect() }
}

class Admin {
  async open (command) {
    this.admin = build(command.login).admin()
    await this.admin.connect()
  }

  createTopic (topic, numPartitions) {
    return this.admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], timeout: 8000 })
  }

  deleteTopic (topic) { return this.admin.deleteTopics({ topics: [topic], timeout: 8000 }) }

  async listTopics () { return { topics: await this.admin.listTopics({ timeout: 8000 }) } }

  close () { return this.admin.disconnect() }
}

const KINDS = { producer: Producer, consumer: Consumer, admin: Admin }

async function run (command) {
  const client = opened.get(command.handle)
  switch (command.do) {
    case 'version': return {
      version: `${require('@confluentinc/kafka-javascript/package.json').version} (librdkafka ${kafka.librdkafkaVersion})`
    }
    case 'producer': case 'consumer': case 'admin': {
      const fresh = new KINDS[command.do]()
      await fresh.open(command)
      opened.set(command.handle, fresh)
      return {}
    }
    case 'send': return client.send(command)
    case 'transaction': await client.step(command.step); return {}
    case 'subscribe': await client.subscribe(command.topic); return {}
    case 'poll': return client.poll(command.count, command.seconds)
    case 'commit': await client.commit(); return {}
    case 'create_topic': await client.createTopic(command.topic, command.partitions); return {}
    case 'delete_topic': await client.deleteTopic(command.topic); return {}
    case 'list_topics': return client.listTopics()
    case 'close': opened.delete(command.handle); await client?.close(); return {}
    default: throw new Error(`no such command: ${command.do}`)
  }
}

// librdkafka's own numbers are below 0, Kafka's are not. What went wrong with several topics is a list.
function describe (problem) {
  const first = problem.errors?.[0] ?? problem
  return { class: problem.name, code: typeof first.code === 'number' ? first.code : -1, message: String(first.message) }
}

async function main () {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const answer = await run(JSON.parse(line)).then(
      found => ({ ok: true, ...found }), problem => ({ ok: false, error: describe(problem) }))
    process.stdout.write(JSON.stringify(answer) + '\n')
  }
  process.exit(0)
}

main()
