// Sarama behind the lines of package lines.
package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"kproxy.test/drivers/lines"
)

type library struct{}

func main() { lines.Serve(library{}, "github.com/IBM/sarama") }

// Code looks for each of Kafka's, because Sarama's wrapped errors are known by errors.Is only.
func (library) Code(problem error) int {
	var topic *sarama.TopicError
	if errors.As(problem, &topic) {
		return int(topic.Err)
	}
	for code := sarama.KError(1); code < 200; code++ {
		if errors.Is(problem, code) {
			return int(code)
		}
	}
	return -1
}

type tokens struct{ login lines.Login }

func (t tokens) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: t.login.Token, Extensions: t.login.Extensions}, nil
}

// common are the settings of every client. A library that retries what will not mend keeps a test waiting.
func common(login lines.Login) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Net.DialTimeout, config.Net.ReadTimeout, config.Net.WriteTimeout = 8*time.Second, 8*time.Second, 8*time.Second
	config.Metadata.Retry.Backoff, config.Producer.Retry.Backoff = 50*time.Millisecond, 50*time.Millisecond
	config.Metadata.AllowAutoTopicCreation = false
	if login.Mechanism == "NONE" {
		return config
	}
	config.Net.SASL.Enable = true
	config.Net.SASL.Mechanism = sarama.SASLMechanism(login.Mechanism)
	config.Net.SASL.User, config.Net.SASL.Password = login.Username, login.Token
	config.Net.SASL.TokenProvider = tokens{login}
	return config
}

func brokers(login lines.Login) []string { return strings.Split(login.Bootstrap, ",") }

type producer struct{ sync sarama.SyncProducer }

func (library) Producer(c lines.Command) (lines.Producer, error) {
	config := common(c.Login)
	config.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}[c.Codec]
	config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"all": sarama.WaitForAll, "1": sarama.WaitForLocal, "0": sarama.NoResponse}[c.Acks]
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes, config.Producer.Return.Errors = true, true
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	if c.Idempotent || c.Transactional != "" {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	if c.Transactional != "" {
		config.Producer.Transaction.ID = c.Transactional
		config.Producer.Transaction.Retry.Backoff = 50 * time.Millisecond
	}
	made, problem := sarama.NewSyncProducer(brokers(c.Login), config)
	return &producer{made}, problem
}

func bytesOrNil(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func (p *producer) Send(c lines.Command) ([]lines.Sent, error) {
	messages := make([]*sarama.ProducerMessage, 0, len(c.Records))
	for _, one := range c.Records {
		message := &sarama.ProducerMessage{Topic: c.Topic, Partition: c.Partition, Key: bytesOrNil(one.Key),
			Value: bytesOrNil(one.Value)}
		for _, header := range one.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
		messages = append(messages, message)
	}
	failed := map[*sarama.ProducerMessage]error{}
	if problem := p.sync.SendMessages(messages); problem != nil {
		var all sarama.ProducerErrors
		if !errors.As(problem, &all) {
			return nil, problem
		}
		for _, one := range all {
			failed[one.Msg] = one.Err
		}
	}
	results := make([]lines.Sent, 0, len(messages))
	for _, message := range messages {
		sent := lines.Sent{Partition: message.Partition, Offset: message.Offset}
		if problem := failed[message]; problem != nil {
			sent.Error = lines.Describe(library{}, problem)
		}
		results = append(results, sent)
	}
	return results, nil
}

func (p *producer) Transaction(step string) error {
	switch step {
	case "begin":
		return p.sync.BeginTxn()
	case "commit":
		return p.sync.CommitTxn()
	}
	return p.sync.AbortTxn()
}

func (p *producer) Close() { _ = p.sync.Close() }

// consumer is the handler of its own group as well. What it receives waits in arrived.
type consumer struct {
	login   lines.Login
	config  *sarama.Config
	name    string
	group   sarama.ConsumerGroup
	single  sarama.Consumer
	stop    context.CancelFunc
	ended   chan struct{}
	arrived chan *sarama.ConsumerMessage
	failed  lines.Failure
	session chan sarama.ConsumerGroupSession
}

func (library) Consumer(c lines.Command) (lines.Consumer, error) {
	config := common(c.Login)
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Retry.Backoff = 50 * time.Millisecond
	config.Consumer.Group.Rebalance.Retry.Backoff = 50 * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	if c.Isolation == "read_committed" {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	return &consumer{login: c.Login, config: config, name: c.Group}, nil
}

func (c *consumer) start() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	c.stop, c.ended, c.arrived = stop, make(chan struct{}), make(chan *sarama.ConsumerMessage)
	c.session = make(chan sarama.ConsumerGroupSession, 1)
	return ctx
}

func (c *consumer) Subscribe(topic string) error {
	group, problem := sarama.NewConsumerGroup(brokers(c.login), c.name, c.config)
	if problem != nil {
		return problem
	}
	c.group = group
	ctx := c.start()
	go func() {
		for problem := range group.Errors() {
			c.failed.Put(problem)
		}
	}()
	go func() {
		defer close(c.ended)
		for ctx.Err() == nil {
			if problem := group.Consume(ctx, []string{topic}, c); problem != nil && ctx.Err() == nil {
				c.failed.Put(problem)
				return
			}
		}
	}()
	return nil
}

func (c *consumer) Setup(session sarama.ConsumerGroupSession) error {
	c.session <- session
	return nil
}

func (c *consumer) Cleanup(sarama.ConsumerGroupSession) error {
	<-c.session
	return nil
}

func (c *consumer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		select {
		case c.arrived <- message:
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
	return nil
}

func (c *consumer) Assign(topic string, partition int32, offset int64) error {
	c.Close()
	single, problem := sarama.NewConsumer(brokers(c.login), c.config)
	if problem != nil {
		return problem
	}
	c.single = single
	reader, problem := single.ConsumePartition(topic, partition, offset)
	if problem != nil {
		return problem
	}
	ctx := c.start()
	go func() {
		defer close(c.ended)
		defer func() { _ = reader.Close() }()
		for {
			select {
			case message := <-reader.Messages():
				select {
				case c.arrived <- message:
				case <-ctx.Done():
					return
				}
			case problem := <-reader.Errors():
				c.failed.Put(problem)
			case <-ctx.Done():
				return
			}
		}
	}()
	return nil
}

func (c *consumer) Take(_ int, deadline time.Time) ([]lines.Record, error) {
	// Errors of the background are looked for between two records.
	wait := min(time.Until(deadline), 100*time.Millisecond)
	select {
	case one := <-c.arrived:
		record := lines.Record{Topic: one.Topic, Partition: one.Partition, Offset: one.Offset, Key: one.Key,
			Value: one.Value, Headers: []lines.Header{}}
		for _, header := range one.Headers {
			record.Headers = append(record.Headers, lines.Header{Name: string(header.Key), Value: header.Value})
		}
		return []lines.Record{record}, nil
	case <-time.After(wait):
		return nil, c.failed.Get()
	}
}

func (c *consumer) Commit() error {
	session := <-c.session
	defer func() { c.session <- session }()
	session.Commit()
	return c.failed.Get()
}

func (c *consumer) Close() {
	if c.stop != nil {
		c.stop()
		<-c.ended
		c.stop = nil
	}
	if c.group != nil {
		_ = c.group.Close()
		c.group = nil
	}
	if c.single != nil {
		_ = c.single.Close()
		c.single = nil
	}
}

type admin struct{ cluster sarama.ClusterAdmin }

func (library) Admin(login lines.Login) (lines.Admin, error) {
	config := common(login)
	cluster, problem := sarama.NewClusterAdmin(brokers(login), config)
	return &admin{cluster}, problem
}

func (a *admin) CreateTopic(name string, partitions int32) error {
	return a.cluster.CreateTopic(name, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
}

func (a *admin) DeleteTopic(name string) error { return a.cluster.DeleteTopic(name) }

func (a *admin) ListTopics() ([]string, error) {
	found, problem := a.cluster.ListTopics()
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	return names, problem
}

func (a *admin) Close() { _ = a.cluster.Close() }
