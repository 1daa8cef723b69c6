// Package lines is what the Go drivers have in common: one command per line of JSON on standard input, one answer per
// line on standard output, as tests/java/Driver.java has it. Bytes travel as base64.
package lines

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// Login says where to go and as whom; it is tests.support.clients.Login.
type Login struct {
	Bootstrap  string            `json:"bootstrap"`
	Mechanism  string            `json:"mechanism"`
	Token      string            `json:"token"`
	Username   string            `json:"username"`
	Extensions map[string]string `json:"extensions"`
}

// Record has no value where Value is nil. A header is a name and bytes, which may be nil.
type Record struct {
	Topic     string   `json:"topic,omitempty"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

// Header is written as a list of two.
type Header struct {
	Name  string
	Value []byte
}

func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

func (h *Header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&h.Name, &h.Value})
}

// Command has the fields of every command; each uses some.
type Command struct {
	Do            string   `json:"do"`
	Handle        string   `json:"handle"`
	Login         Login    `json:"login"`
	Codec         string   `json:"codec"`
	Acks          string   `json:"acks"`
	Idempotent    bool     `json:"idempotent"`
	Transactional string   `json:"transactional"`
	Step          string   `json:"step"`
	Group         string   `json:"group"`
	Protocol      string   `json:"protocol"`
	Isolation     string   `json:"isolation"`
	Topic         string   `json:"topic"`
	Partition     int32    `json:"partition"`
	Partitions    int32    `json:"partitions"`
	Offset        int64    `json:"offset"`
	Count         int      `json:"count"`
	Seconds       float64  `json:"seconds"`
	Records       []Record `json:"records"`
}

// Answer is what goes back besides "ok".
type Answer map[string]any

// Sent is what became of one record.
type Sent struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Error     *Problem `json:"error,omitempty"`
}

// Problem is an error with Kafka's own code, -1 where the library gives none.
type Problem struct {
	Class   string `json:"class"`
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Producer, Consumer and Admin are tests.support.clients' faces of one open client.
type Producer interface {
	Send(command Command) ([]Sent, error)
	// Transaction takes one step: begin, commit or abort.
	Transaction(step string) error
	Close()
}

type Consumer interface {
	Subscribe(topic string) error
	Assign(topic string, partition int32, offset int64) error
	// Take waits no longer than until the deadline and may return nothing.
	Take(count int, deadline time.Time) ([]Record, error)
	Commit() error
	Close()
}

type Admin interface {
	CreateTopic(name string, partitions int32) error
	DeleteTopic(name string) error
	ListTopics() ([]string, error)
	Close()
}

// Library opens clients. Code gives Kafka's code of one of its errors, or -1.
type Library interface {
	Producer(command Command) (Producer, error)
	Consumer(command Command) (Consumer, error)
	Admin(login Login) (Admin, error)
	Code(problem error) int
}

type desk struct {
	library   Library
	module    string
	producers map[string]Producer
	consumers map[string]Consumer
	admins    map[string]Admin
}

// Serve answers commands until standard input ends. module is the library's Go module, whose version is told.
func Serve(library Library, module string) {
	desk := desk{library, module, map[string]Producer{}, map[string]Consumer{}, map[string]Admin{}}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 64<<20)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		var command Command
		answer, problem := Answer(nil), json.Unmarshal(input.Bytes(), &command)
		if problem == nil {
			answer, problem = desk.run(command)
		}
		if answer == nil {
			answer = Answer{}
		}
		answer["ok"] = problem == nil
		if problem != nil {
			answer["error"] = Describe(library, problem)
		}
		if output.Encode(answer) != nil {
			return
		}
	}
}

// Describe makes an answer's error of a library's.
func Describe(library Library, problem error) *Problem {
	return &Problem{fmt.Sprintf("%T", problem), library.Code(problem), problem.Error()}
}

func (d *desk) run(c Command) (Answer, error) {
	switch c.Do {
	case "version":
		return Answer{"version": d.version()}, nil
	case "producer":
		made, problem := d.library.Producer(c)
		if problem == nil {
			d.producers[c.Handle] = made
		}
		return nil, problem
	case "consumer":
		made, problem := d.library.Consumer(c)
		if problem == nil {
			d.consumers[c.Handle] = made
		}
		return nil, problem
	case "admin":
		made, problem := d.library.Admin(c.Login)
		if problem == nil {
			d.admins[c.Handle] = made
		}
		return nil, problem
	case "send":
		results, problem := d.producers[c.Handle].Send(c)
		return Answer{"results": results}, problem
	case "transaction":
		return nil, d.producers[c.Handle].Transaction(c.Step)
	case "subscribe":
		return nil, d.consumers[c.Handle].Subscribe(c.Topic)
	case "assign":
		return nil, d.consumers[c.Handle].Assign(c.Topic, c.Partition, c.Offset)
	case "poll":
		return d.poll(c)
	case "commit":
		return nil, d.consumers[c.Handle].Commit()
	case "create_topic":
		return nil, d.admins[c.Handle].CreateTopic(c.Topic, c.Partitions)
	case "delete_topic":
		return nil, d.admins[c.Handle].DeleteTopic(c.Topic)
	case "list_topics":
		topics, problem := d.admins[c.Handle].ListTopics()
		return Answer{"topics": topics}, problem
	case "close":
		d.close(c.Handle)
		return nil, nil
	}
	return nil, fmt.Errorf("no such command: %s", c.Do)
}

func (d *desk) poll(c Command) (Answer, error) {
	deadline := time.Now().Add(time.Duration(c.Seconds * float64(time.Second)))
	found := []Record{}
	for len(found) < c.Count && time.Now().Before(deadline) {
		more, problem := d.consumers[c.Handle].Take(c.Count-len(found), deadline)
		if problem != nil {
			return nil, problem
		}
		found = append(found, more...)
	}
	return Answer{"records": found}, nil
}

func (d *desk) close(handle string) {
	if producer, is := d.producers[handle]; is {
		producer.Close()
	}
	if consumer, is := d.consumers[handle]; is {
		consumer.Close()
	}
	if admin, is := d.admins[handle]; is {
		admin.Close()
	}
	delete(d.producers, handle)
	delete(d.consumers, handle)
	delete(d.admins, handle)
}

func (d *desk) version() string {
	info, _ := debug.ReadBuildInfo()
	for _, one := range info.Deps {
		if one.Path == d.module {
			return one.Version
		}
	}
	return "unknown"
}

// Failure keeps the first error that a client tells of in the background.
type Failure struct {
	lock  sync.Mutex
	first error
}

func (f *Failure) Put(problem error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.first == nil {
		f.first = problem
	}
}

func (f *Failure) Get() error {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.first
}
