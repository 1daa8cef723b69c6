// kafkajs as a child process: one command per line of JSON on standard input, one answer per line on standard output, as
// tests/java/Driver.java has it. Bytes travel as base64. The libraries are found through NODE_PATH.
'use strict'

const readline = require('node:readline')
const { Kafka, CompressionCodecs, CompressionTypes, logLevel } = require('kafkajs')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
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
      oauthBearerProvider: async () => ({ value: login.token, extensions: login.extensions })
    }
  }[login.mechanism]
  // A library that retries what will not mend keeps a test waiting.
  return new Kafka({
    clientId: 'kafkajs', brokers: [login.bootstrap], sasl, ssl: false, logLevel: logLevel.NOTHING,
    connectionTimeout: 8000, authenticationTimeout: 8000, requestTimeout: 8000,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 4 }
  })
}

// kafkajs names a topic's headers as an object, whose values are lists where a name is there twice.
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
    this.codec = CODECS[command.codec]
    this.acks = ACKS[command.acks]
    this.transactional = Boolean(command.transactional)
    this.producer = build(command.login).producer({
      createPartitioner: () => ({ message }) => message.partition,
      allowAutoTopicCreation: false,
      idempotent: Boolean(command.idempotent || command.transactional),
      ...(command.transactional ? { transactionalId: command.transactional, maxInFlightRequests: 1 } : {})
    })
    await this.producer.connect()
  }

  async send (command) {
    const messages = command.records.map(one => ({
      partition: command.partition, key: bytes(one.key), value: bytes(one.value), headers: toHeaders(one.headers)
    }))
    const target = this.transaction ?? this.producer
    try {
      const [found] = await target.send({ topic: command.topic, messages, acks: this.acks, compression: this.codec })
      const first = Number(found?.baseOffset ?? -1)
      return { results: messages.map((_, n) => ({ partition: command.partition, offset: first < 0 ? -1 : first + n })) }
    } catch (problem) {
      return { results: messages.map(() => ({ error: describe(problem) })) }
    }
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
      groupId: command.group, maxWaitTimeInMs: 100, readUncommitted: command.isolation !== 'read_committed',
      heartbeatInterval: 500, allowAutoTopicCreation: false
    })
    // What kafkajs takes up again by itself (a coordinator that is loading) is no failure.
    this.consumer.on(this.consumer.events.CRASH, ({ payload }) => {
      if (!payload.restart) this.failed ??= payload.error
    })
    await this.consumer.connect()
  }

  async subscribe (topic) {
    await this.consumer.subscribe({ topic, fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
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
      if (this.failed) throw this.failed
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
    return this.admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: false })
  }

  deleteTopic (topic) { return this.admin.deleteTopics({ topics: [topic], timeout: 8000 }) }

  async listTopics () { return { topics: await this.admin.listTopics() } }

  close () { return this.admin.disconnect() }
}

const KINDS = { producer: Producer, consumer: Consumer, admin: Admin }

async function run (command) {
  const client = opened.get(command.handle)
  switch (command.do) {
    case 'version': return { version: require('kafkajs/package.json').version }
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

// kafkajs wraps what went wrong; the innermost error with Kafka's number is the one that counts.
function describe (problem) {
  const seen = []
  for (let one = problem; one && !seen.includes(one); one = one.cause ?? one.originalError ?? one.errors?.[0]) seen.push(one)
  const kafka = seen.find(one => typeof one.code === 'number')
  const refused = seen.some(one => one.name === 'KafkaJSSASLAuthenticationError')
  return { class: problem.name, code: kafka?.code ?? (refused ? 58 : -1), message: String((kafka ?? problem).message) }
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
