// go-micro's own registries, over etcd or multicast DNS, told on standard input what to do and answering on standard output, one
// JSON object a line. See ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-micro/plugins/v4/registry/etcd"
	"go-micro.dev/v4/registry"
)

// question is one line of input.
type question struct {
	// Do is register, deregister, get, list or watch.
	Do string `json:"do"`
	// Service is what to register or deregister.
	Service *registry.Service `json:"service"`
	// Name is which service to get.
	Name string `json:"name"`
	// TTL is in seconds; zero for none.
	TTL int `json:"ttl"`
}

// answer is one line of output: to a question, or what a watch says.
type answer struct {
	Error    string              `json:"error,omitempty"`
	Services []*registry.Service `json:"services,omitempty"`
	Event    *registry.Result    `json:"event,omitempty"`
}

type program struct {
	registry registry.Registry
	mu       sync.Mutex // guards out
	out      *json.Encoder
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go-micro HOST:PORT | mdns")
		os.Exit(2)
	}
	p := &program{registry: open(os.Args[1]), out: json.NewEncoder(os.Stdout)}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			p.say(answer{Error: err.Error()})
			continue
		}
		p.say(p.do(q))
	}
}

// open answers with the registry in the etcd at an address, or with go-micro's default one.
func open(where string) registry.Registry {
	if where == "mdns" {
		return registry.NewRegistry()
	}
	return etcd.NewRegistry(registry.Addrs(where), registry.Timeout(5*time.Second))
}

func (p *program) do(q question) answer {
	var a answer
	var err error
	switch q.Do {
	case "register":
		ttl := registry.RegisterTTL(time.Duration(q.TTL) * time.Second)
		err = p.registry.Register(q.Service, ttl)
	case "deregister":
		err = p.registry.Deregister(q.Service)
	case "get":
		a.Services, err = p.registry.GetService(q.Name)
	case "list":
		a.Services, err = p.registry.ListServices()
	case "watch":
		var watcher registry.Watcher
		if watcher, err = p.registry.Watch(); err == nil {
			go p.follow(watcher)
		}
	default:
		err = fmt.Errorf("unknown question %q", q.Do)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

func (p *program) follow(watcher registry.Watcher) {
	for {
		event, err := watcher.Next()
		if err != nil {
			return
		}
		p.say(answer{Event: event})
	}
}

func (p *program) say(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Encode(a); err != nil {
		os.Exit(1)
	}
}
