package main

import (
	"sync"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
)

// following holds what a plan of api/watch has told so far.
type following struct {
	plan *watch.Plan
	lock sync.Mutex
	told []any
}

func (c *client) watches(asked command) (any, error, bool) {
	switch asked.Do {
	case "watch_service":
		return nil, c.follow(map[string]any{"type": "service", "service": asked.Service}), true
	case "watch_key":
		return nil, c.follow(map[string]any{"type": "key", "key": asked.Key}), true
	case "watched":
		c.following.lock.Lock()
		defer c.following.lock.Unlock()
		return append([]any{}, c.following.told...), nil, true
	}
	return nil, nil, false
}

func (c *client) follow(what map[string]any) error {
	plan, err := watch.Parse(what)
	if err != nil {
		return err
	}
	if c.following != nil {
		c.following.plan.Stop()
	}
	followed := &following{plan: plan}
	plan.Handler = func(_ uint64, value any) {
		followed.lock.Lock()
		defer followed.lock.Unlock()
		followed.told = append(followed.told, said(value))
	}
	c.following = followed
	go plan.RunWithClientAndHclog(c.Client, hclog.NewNullLogger())
	return nil
}

func said(value any) any {
	if found, isKey := value.(*api.KVPair); isKey {
		return text(found)
	}
	return value
}
