// franz-go behind the lines of package lines.
package main

import (
	"context"
	"errors"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"kproxy.test/drivers/lines"
)

const giveUp = 15 * time.Second

type library struct{}

func main() { lines.Serve(library{}, "github.com/twmb/franz-go") }

func (library) Code(problem error) int {
	var kafka *kerr.Error
	if errors.As(problem, &kafka) {
		return int(kafka.Code)
	}
	return -1
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), giveUp)
}

// common are the settings of every client. A library that retries what will not mend keeps a test waiting.
func common(login lines.Login) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(login.Bootstrap, ",")...),
		kgo.RequestRetries(3),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	switch login.Mechanism {
	case "PLAIN":
		options = append(options, kgo.SASL(plain.Auth{User: login.Username, Pass: login.Token}.AsMechanism()))
	case "OAUTHBEARER":
		options = append(options, kgo.SASL(oauth.Auth{Token: login.Token, Extensions: login.Extensions}.AsMechanism()))
	}
	return options
}

type producer struct{ client *kgo.Client }

func (library) Producer(c lines.Command) (lines.Producer, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}
	options := append(common(c.Login),
		kgo.ProducerBatchCompression(codecs[c.Codec]), kgo.RequiredAcks(acks[c.Acks]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond),
		kgo.RecordDeliveryTimeout(12*time.Second))
	if c.Transactional != "" {
		options = append(options, kgo.TransactionalID(c.Transactional))
	} else if !c.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, problem := kgo.NewClient(options...)
	return &producer{client}, problem
}

func (p *producer) Send(c lines.Command) ([]lines.Sent, error) {
	records := make([]*kgo.Record, 0, len(c.Records))
	for _, one := range c.Records {
		record := &kgo.Record{Topic: c.Topic, Partition: c.Partition, Key: one.Key, Value: one.Value}
		for _, header := range one.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		records = append(records, record)
	}
	ctx, cancel := within()
	defer cancel()
	outcome := map[*kgo.Record]lines.Sent{}
	for _, one := range p.client.ProduceSync(ctx, records...) {
		sent := lines.Sent{Partition: one.Record.Partition, Offset: one.Record.Offset}
		if one.Err != nil {
			sent.Error = lines.Describe(library{}, one.Err)
		}
		outcome[one.Record] = sent
	}
	results := make([]lines.Sent, 0, len(records))
	for _, record := range records {
		results = append(results, outcome[record])
	}
	return results, nil
}

func (p *producer) Transaction(step string) error {
	ctx, cancel := within()
	defer cancel()
	switch step {
	case "begin":
		return p.client.BeginTransaction()
	case "commit":
		return p.client.EndTransaction(ctx, kgo.TryCommit)
	}
	return p.client.EndTransaction(ctx, kgo.TryAbort)
}

func (p *producer) Close() { p.client.Close() }

type consumer struct {
	options []kgo.Opt
	group   string
	client  *kgo.Client
}

func (library) Consumer(c lines.Command) (lines.Consumer, error) {
	options := append(common(c.Login), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond))
	if c.Isolation == "read_committed" {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if c.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	return &consumer{options: options, group: c.Group}, nil
}

func (c *consumer) Subscribe(topic string) (problem error) {
	c.client, problem = kgo.NewClient(append(c.options, kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.HeartbeatInterval(500*time.Millisecond))...)
	return problem
}

func (c *consumer) Assign(topic string, partition int32, offset int64) (problem error) {
	c.Close()
	c.client, problem = kgo.NewClient(append(c.options, kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}))...)
	return problem
}

func (c *consumer) Take(count int, deadline time.Time) ([]lines.Record, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	fetches := c.client.PollRecords(ctx, count)
	for _, one := range fetches.Errors() {
		if !errors.Is(one.Err, context.DeadlineExceeded) && !kerr.IsRetriable(one.Err) {
			return nil, one.Err
		}
	}
	var found []lines.Record
	fetches.EachRecord(func(one *kgo.Record) {
		record := lines.Record{Topic: one.Topic, Partition: one.Partition, Offset: one.Offset, Key: one.Key,
			Value: one.Value, Headers: []lines.Header{}}
		for _, header := range one.Headers {
			record.Headers = append(record.Headers, lines.Header{Name: header.Key, Value: header.Value})
		}
		found = append(found, record)
	})
	return found, nil
}

func (c *consumer) Commit() error {
	ctx, cancel := within()
	defer cancel()
	return c.client.CommitUncommittedOffsets(ctx)
}

func (c *consumer) Close() {
	if c.client != nil {
		c.client.Close()
	}
}

type admin struct{ client *kadm.Client }

func (library) Admin(login lines.Login) (lines.Admin, error) {
	client, problem := kadm.NewOptClient(common(login)...)
	return &admin{client}, problem
}

func (a *admin) CreateTopic(name string, partitions int32) error {
	ctx, cancel := within()
	defer cancel()
	_, problem := a.client.CreateTopic(ctx, partitions, 1, nil, name)
	return problem
}

func (a *admin) DeleteTopic(name string) error {
	ctx, cancel := within()
	defer cancel()
	_, problem := a.client.DeleteTopic(ctx, name)
	return problem
}

func (a *admin) ListTopics() ([]string, error) {
	ctx, cancel := within()
	defer cancel()
	found, problem := a.client.ListTopics(ctx)
	names := found.Names()
	sort.Strings(names)
	return names, problem
}

func (a *admin) Close() { a.client.Close() }
