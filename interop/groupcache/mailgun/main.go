// Command mailgun is a peer of mailgun/groupcache v2. See the package peer.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/mailgun/groupcache/v2"
	"github.com/mailgun/groupcache/v2/consistenthash"

	"larder.dev/interop/groupcache/peer"
)

func main() { peer.Main(build) }

type node struct {
	*groupcache.HTTPPool
	replicas int
	// ring says who owns a key: the pool keeps that to itself.
	ring *consistenthash.Map
}

func build(settings peer.Settings) (peer.Node, error) {
	options := groupcache.HTTPPoolOptions{Replicas: settings.Replicas}
	pool := groupcache.NewHTTPPoolOpts(settings.Self, &options)
	return &node{HTTPPool: pool, replicas: settings.Replicas}, nil
}

func (n *node) SetPeers(peers []string) error {
	n.Set(peers...)
	n.ring = consistenthash.New(n.replicas, nil)
	n.ring.Add(peers...)
	return nil
}

func (n *node) Owner(key string) string { return n.ring.Get(key) }

func (n *node) Add(name string, bytes int64, load peer.Loader) (peer.Group, error) {
	fill := func(ctx context.Context, key string, sink groupcache.Sink) error {
		loaded, err := load(ctx, key)
		var absent *peer.Absent
		if errors.As(err, &absent) {
			return &groupcache.ErrNotFound{Msg: absent.Error()}
		}
		if err != nil {
			return err
		}
		return sink.SetBytes(loaded.Value, loaded.Expire)
	}
	return &group{groupcache.NewGroup(name, bytes, groupcache.GetterFunc(fill))}, nil
}

type group struct{ group *groupcache.Group }

func (g *group) Get(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := g.group.Get(ctx, key, groupcache.AllocatingByteSliceSink(&value))
	if errors.Is(err, &groupcache.ErrNotFound{}) {
		return nil, &peer.Absent{Key: key}
	}
	return value, err
}

func (g *group) Set(ctx context.Context, key string, value []byte, expire time.Time, hot bool) error {
	return g.group.Set(ctx, key, value, expire, hot)
}

func (g *group) Remove(ctx context.Context, key string) error { return g.group.Remove(ctx, key) }

func (g *group) Stats() any {
	return map[string]any{
		"group": &g.group.Stats,
		"main":  g.group.CacheStats(groupcache.MainCache),
		"hot":   g.group.CacheStats(groupcache.HotCache),
	}
}
