package main

import "github.com/hashicorp/consul/api"

// pair is a key as answers say it: its value is text.
type pair struct {
	Key         string
	Value       *string
	Flags       uint64
	CreateIndex uint64
	ModifyIndex uint64
	LockIndex   uint64
}

func (c *client) keys(asked command) (any, error, bool) {
	kv := c.KV()
	options, err := options(asked)
	if err != nil {
		return nil, err, true
	}
	switch asked.Do {
	case "kv_get":
		found, meta, err := kv.Get(asked.Key, options)
		return told(text(found), meta), err, true
	case "kv_list":
		found, meta, err := kv.List(asked.Prefix, options)
		return told(texts(found), meta), err, true
	case "kv_keys":
		found, meta, err := kv.Keys(asked.Prefix, asked.Separator, options)
		return told(found, meta), err, true
	case "kv_put":
		put, err := c.put(asked)
		return put, err, true
	case "kv_delete":
		deleted, err := c.remove(asked)
		return deleted, err, true
	}
	return nil, nil, false
}

func (c *client) put(asked command) (bool, error) {
	put := &api.KVPair{Key: asked.Key, Value: []byte(asked.Value), Flags: asked.Flags}
	if asked.CAS != nil {
		put.ModifyIndex = *asked.CAS
		done, _, err := c.KV().CAS(put, nil)
		return done, err
	}
	// The client takes whatever is not `true` for an error.
	_, err := c.KV().Put(put, nil)
	return err == nil, err
}

func (c *client) remove(asked command) (bool, error) {
	if asked.CAS != nil {
		removed := &api.KVPair{Key: asked.Key, ModifyIndex: *asked.CAS}
		done, _, err := c.KV().DeleteCAS(removed, nil)
		return done, err
	}
	remove := c.KV().Delete
	if asked.Recurse {
		remove = c.KV().DeleteTree
	}
	_, err := remove(asked.Key, nil)
	return err == nil, err
}

// text is nil for no key.
func text(found *api.KVPair) any {
	if found == nil {
		return nil
	}
	return textOf(found)
}

func texts(found api.KVPairs) any {
	if found == nil {
		return nil
	}
	all := []pair{}
	for _, each := range found {
		all = append(all, textOf(each))
	}
	return all
}

func textOf(found *api.KVPair) pair {
	told := pair{found.Key, nil, found.Flags, found.CreateIndex, found.ModifyIndex, found.LockIndex}
	if found.Value != nil {
		value := string(found.Value)
		told.Value = &value
	}
	return told
}
