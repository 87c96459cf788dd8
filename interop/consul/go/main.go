// Drives hashicorp/consul/api and its api/watch by commands: one JSON object a line on standard input, one
// answer a line on standard output. What the commands mean is in ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/consul/api"
)

// command is one line of input.
type command struct {
	Do      string            `json:"do"`
	Server  string            `json:"server"`
	ID      string            `json:"id"`
	Service string            `json:"service"`
	Tags    []string          `json:"tags"`
	Meta    map[string]string `json:"meta"`
	Address string            `json:"address"`
	Port    int               `json:"port"`
	Checks  []check           `json:"checks"`

	Name      string `json:"name"`
	ServiceID string `json:"service_id"`
	TTL       string `json:"ttl"`
	Check     string `json:"check"`
	Note      string `json:"note"`
	Enable    bool   `json:"enable"`
	Reason    string `json:"reason"`

	Node    string `json:"node"`
	State   string `json:"state"`
	Tag     string `json:"tag"`
	Passing bool   `json:"passing"`
	Cached  bool   `json:"cached"`
	Index   uint64 `json:"index"`
	Wait    string `json:"wait"`

	Key       string  `json:"key"`
	Prefix    string  `json:"prefix"`
	Separator string  `json:"separator"`
	Value     string  `json:"value"`
	Flags     uint64  `json:"flags"`
	CAS       *uint64 `json:"cas"`
	Recurse   bool    `json:"recurse"`

	Session    string     `json:"session"`
	Payload    string     `json:"payload"`
	Operations api.TxnOps `json:"operations"`
}

type check struct {
	TTL      string `json:"ttl"`
	HTTP     string `json:"http"`
	Interval string `json:"interval"`
	Timeout  string `json:"timeout"`
}

// indexed is what a read says, with its index and how it met the cache.
type indexed struct {
	Index uint64  `json:"index"`
	Value any     `json:"value"`
	Hit   bool    `json:"hit"`
	Age   float64 `json:"age"`
}

type client struct {
	*api.Client
	following *following
}

func main() {
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	c := &client{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var asked command
		var outcome any
		err := json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			outcome, err = c.run(asked)
		}
		if err != nil {
			answers.Encode(map[string]string{"error": err.Error()})
		} else {
			answers.Encode(map[string]any{"answer": outcome})
		}
	}
}

func (c *client) run(asked command) (any, error) {
	if asked.Do == "start" {
		var err error
		c.Client, err = api.NewClient(&api.Config{Address: asked.Server})
		return nil, err
	}
	for _, group := range []func(command) (any, error, bool){c.agent, c.catalog, c.health, c.keys, c.watches, c.others} {
		if outcome, err, known := group(asked); known {
			return outcome, err
		}
	}
	return nil, fmt.Errorf("no such command: %s", asked.Do)
}

func (c *client) agent(asked command) (any, error, bool) {
	agent := c.Agent()
	var err error
	var value any
	switch asked.Do {
	case "register":
		err = agent.ServiceRegister(registration(asked))
	case "deregister":
		err = agent.ServiceDeregister(asked.ID)
	case "register_check":
		err = agent.CheckRegister(&api.AgentCheckRegistration{
			ID:                asked.ID,
			Name:              asked.Name,
			ServiceID:         asked.ServiceID,
			AgentServiceCheck: api.AgentServiceCheck{TTL: asked.TTL},
		})
	case "deregister_check":
		err = agent.CheckDeregister(asked.ID)
	case "pass":
		err = agent.UpdateTTL(asked.Check, asked.Note, api.HealthPassing)
	case "warn":
		err = agent.UpdateTTL(asked.Check, asked.Note, api.HealthWarning)
	case "fail":
		err = agent.UpdateTTL(asked.Check, asked.Note, api.HealthCritical)
	case "maintain":
		if asked.Enable {
			err = agent.EnableServiceMaintenance(asked.ID, asked.Reason)
		} else {
			err = agent.DisableServiceMaintenance(asked.ID)
		}
	case "maintain_node":
		if asked.Enable {
			err = agent.EnableNodeMaintenance(asked.Reason)
		} else {
			err = agent.DisableNodeMaintenance()
		}
	case "agent_self":
		value, err = agent.Self()
	case "agent_members":
		value, err = agent.Members(false)
	case "agent_services":
		value, err = agent.Services()
	case "agent_checks":
		value, err = agent.Checks()
	case "leader":
		value, err = c.Status().Leader()
	case "peers":
		value, err = c.Status().Peers()
	default:
		return nil, nil, false
	}
	return value, err, true
}

func registration(asked command) *api.AgentServiceRegistration {
	registered := &api.AgentServiceRegistration{
		ID:      asked.ID,
		Name:    asked.Service,
		Tags:    asked.Tags,
		Meta:    asked.Meta,
		Address: asked.Address,
		Port:    asked.Port,
	}
	for _, each := range asked.Checks {
		registered.Checks = append(registered.Checks, &api.AgentServiceCheck{
			TTL:      each.TTL,
			HTTP:     each.HTTP,
			Interval: each.Interval,
			Timeout:  each.Timeout,
		})
	}
	return registered
}

func (c *client) catalog(asked command) (any, error, bool) {
	catalog := c.Catalog()
	switch asked.Do {
	case "datacenters":
		value, err := catalog.Datacenters()
		return value, err, true
	case "nodes":
		value, meta, err := catalog.Nodes(nil)
		return told(value, meta), err, true
	case "node":
		value, meta, err := catalog.Node(asked.Node, nil)
		return told(value, meta), err, true
	case "services":
		value, meta, err := catalog.Services(nil)
		return told(value, meta), err, true
	case "catalog_service":
		value, meta, err := catalog.Service(asked.Service, asked.Tag, nil)
		return told(value, meta), err, true
	}
	return nil, nil, false
}

func (c *client) health(asked command) (any, error, bool) {
	health := c.Health()
	options, err := options(asked)
	if err != nil {
		return nil, err, true
	}
	switch asked.Do {
	case "health_service":
		value, meta, err := health.Service(asked.Service, asked.Tag, asked.Passing, options)
		return told(value, meta), err, true
	case "health_checks":
		value, meta, err := health.Checks(asked.Service, options)
		return told(value, meta), err, true
	case "health_node":
		value, meta, err := health.Node(asked.Node, options)
		return told(value, meta), err, true
	case "health_state":
		value, meta, err := health.State(asked.State, options)
		return told(value, meta), err, true
	}
	return nil, nil, false
}

func options(asked command) (*api.QueryOptions, error) {
	options := &api.QueryOptions{WaitIndex: asked.Index, UseCache: asked.Cached}
	var err error
	if asked.Wait != "" {
		options.WaitTime, err = time.ParseDuration(asked.Wait)
	}
	return options, err
}

func told(value any, meta *api.QueryMeta) *indexed {
	if meta == nil {
		return nil
	}
	return &indexed{meta.LastIndex, value, meta.CacheHit, meta.CacheAge.Seconds()}
}
