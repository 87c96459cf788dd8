package main

import "github.com/hashicorp/consul/api"

// event is one as answers say it: its payload is text.
type event struct {
	ID, Name, Payload string
}

// others is what only Consul itself does.
func (c *client) others(asked command) (any, error, bool) {
	switch asked.Do {
	case "session":
		session, _, err := c.Session().Create(&api.SessionEntry{TTL: asked.TTL}, nil)
		return session, err, true
	case "destroy_session":
		_, err := c.Session().Destroy(asked.Session, nil)
		return nil, err, true
	case "lock":
		locked := &api.KVPair{Key: asked.Key, Value: []byte(asked.Value), Session: asked.Session}
		done, _, err := c.KV().Acquire(locked, nil)
		return done, err, true
	case "transact":
		_, answer, _, err := c.Txn().Txn(asked.Operations, nil)
		if err != nil {
			return nil, err, true
		}
		return answer.Results, nil, true
	case "fire":
		fired, _, err := c.Event().Fire(&api.UserEvent{Name: asked.Name, Payload: []byte(asked.Payload)}, nil)
		return fired, err, true
	case "events":
		found, meta, err := c.Event().List(asked.Name, nil)
		all := []event{}
		for _, each := range found {
			all = append(all, event{each.ID, each.Name, string(each.Payload)})
		}
		return told(all, meta), err, true
	}
	return nil, nil, false
}
