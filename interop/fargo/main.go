// Drives hudl/fargo by commands: one JSON object a line on standard input, one answer a line on standard
// output. What the commands mean is in ../README.md. With --json it speaks JSON, else XML.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hudl/fargo"
	"github.com/op/go-logging"
)

// command is one line of input.
type command struct {
	Do       string            `json:"do"`
	Server   string            `json:"server"`
	App      string            `json:"app"`
	ID       string            `json:"id"`
	Host     string            `json:"host"`
	IP       string            `json:"ip"`
	Port     int               `json:"port"`
	VIP      string            `json:"vip"`
	Metadata map[string]string `json:"metadata"`
	// Seconds.
	Interval int32 `json:"interval"`
	Duration int32 `json:"duration"`

	Status string `json:"status"`
}

// told is an instance, as answers say it.
type told struct {
	ID       string            `json:"id"`
	App      string            `json:"app"`
	Host     string            `json:"host"`
	IP       string            `json:"ip"`
	Port     int               `json:"port"`
	VIP      string            `json:"vip"`
	Status   fargo.StatusType  `json:"status"`
	Metadata map[string]string `json:"metadata"`
}

type client struct {
	connection fargo.EurekaConnection
	registered command
	metadata   notation
	// turn keeps a heartbeat from registering again after stop.
	turn sync.Mutex
}

func main() {
	// fargo logs to standard error at every level; only what went wrong is of interest.
	logging.SetLevel(logging.CRITICAL, "fargo")
	c := &client{metadata: xmlNotation{}}
	if slices.Contains(os.Args[1:], "--json") {
		c.connection.UseJson = true
		c.metadata = jsonNotation{}
	}
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
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
		if asked.Do == "stop" {
			return
		}
	}
}

func (c *client) run(asked command) (any, error) {
	switch asked.Do {
	case "start":
		return nil, c.start(asked)
	case "by_app":
		return c.byApp(asked.App)
	case "by_vip":
		return c.byVIP(asked.VIP)
	case "set_status":
		return nil, c.setStatus(asked.Status)
	case "lift_status":
		// fargo has no call that lifts one: its users set UP.
		return nil, c.setStatus("UP")
	case "stop":
		c.turn.Lock() // For good.
		return nil, c.connection.DeregisterInstance(c.instance())
	default:
		return nil, fmt.Errorf("no such command: %s", asked.Do)
	}
}

func (c *client) start(asked command) error {
	c.connection.ServiceUrls = []string{asked.Server}
	c.registered = asked
	if err := c.connection.RegisterInstance(c.instance()); err != nil {
		return err
	}
	if _, err := c.connection.GetApps(); err != nil {
		return err
	}
	go func() {
		for range time.Tick(time.Duration(asked.Interval) * time.Second) {
			c.heartbeat()
		}
	}()
	return nil
}

// heartbeat registers again when a heartbeat is refused, as fargo's users are told to.
func (c *client) heartbeat() {
	c.turn.Lock()
	defer c.turn.Unlock()
	err := c.connection.HeartBeatInstance(c.instance())
	if code, _ := fargo.HTTPResponseStatusCode(err); code == http.StatusNotFound {
		c.connection.ReregisterInstance(c.instance())
	}
}

// instance is made anew each time: a call overwrites it with what the server says, and what is so
// overwritten would be registered without its metadata in XML.
func (c *client) instance() *fargo.Instance {
	r := c.registered
	instance := &fargo.Instance{
		InstanceId:     r.ID,
		App:            r.App,
		HostName:       r.Host,
		IPAddr:         r.IP,
		Port:           r.Port,
		PortEnabled:    true,
		VipAddress:     r.VIP,
		Status:         fargo.UP,
		DataCenterInfo: fargo.DataCenterInfo{Name: fargo.MyOwn},
		LeaseInfo: fargo.LeaseInfo{
			RenewalIntervalInSecs: r.Interval,
			DurationInSecs:        r.Duration,
		},
	}
	for key, value := range r.Metadata {
		instance.SetMetadataString(c.metadata.sent(key), value)
	}
	return instance
}

func (c *client) byApp(name string) ([]told, error) {
	application, err := c.connection.GetApp(name)
	var unknown fargo.AppNotFoundError
	if errors.As(err, &unknown) {
		return []told{}, nil
	}
	if err != nil {
		return nil, err
	}
	return c.tell(application.Instances)
}

func (c *client) byVIP(vip string) ([]told, error) {
	found, err := c.connection.GetInstancesByVIPAddress(vip, false)
	if err != nil {
		return nil, err
	}
	return c.tell(found)
}

func (c *client) setStatus(status string) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	return c.connection.UpdateInstanceStatus(c.instance(), fargo.StatusType(status))
}

func (c *client) tell(instances []*fargo.Instance) ([]told, error) {
	all := []told{}
	for _, instance := range instances {
		metadata, err := c.metadata.read(instance.Metadata.Raw)
		if err != nil {
			return nil, err
		}
		all = append(all, told{
			ID:       instance.InstanceId,
			App:      instance.App,
			Host:     instance.HostName,
			IP:       instance.IPAddr,
			Port:     instance.Port,
			VIP:      instance.VipAddress,
			Status:   instance.Status,
			Metadata: metadata,
		})
	}
	return all, nil
}
