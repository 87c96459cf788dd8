// Command golang is a peer of golang/groupcache, which has neither set nor remove nor expiry. See the package peer.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/golang/groupcache"
	"github.com/golang/groupcache/consistenthash"

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
		if err != nil {
			return err
		}
		return sink.SetBytes(loaded.Value)
	}
	return &group{groupcache.NewGroup(name, bytes, groupcache.GetterFunc(fill))}, nil
}

type group struct{ group *groupcache.Group }

func (g *group) Get(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := g.group.Get(ctx, key, groupcache.AllocatingByteSliceSink(&value))
	return value, err
}

var unable = errors.New("golang/groupcache has neither set nor remove")

func (g *group) Set(context.Context, string, []byte, time.Time, bool) error { return unable }

func (g *group) Remove(context.Context, string) error { return unable }

func (g *group) Stats() any {
	return map[string]any{
		"group": &g.group.Stats,
		"main":  g.group.CacheStats(groupcache.MainCache),
		"hot":   g.group.CacheStats(groupcache.HotCache),
	}
}
