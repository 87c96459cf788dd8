// Command groupcache-go is a peer of groupcache/groupcache-go v3. See the package peer.
package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/groupcache/groupcache-go/v3"
	"github.com/groupcache/groupcache-go/v3/transport"
	ring "github.com/groupcache/groupcache-go/v3/transport/peer"

	"larder.dev/interop/groupcache/peer"
)

func main() { peer.Main(build) }

type node struct {
	*transport.HttpTransport
	self     string
	instance *groupcache.Instance
}

func build(settings peer.Settings) (peer.Node, error) {
	// It complains of peers that are killed, which is what happens here.
	quiet := slog.New(slog.DiscardHandler)
	http := transport.NewHttpTransport(transport.HttpTransportOptions{Logger: quiet})
	options := groupcache.Options{Replicas: settings.Replicas, Transport: http, Logger: quiet}
	return &node{http, settings.Self, groupcache.New(options)}, nil
}

func (n *node) SetPeers(peers []string) error {
	var all []ring.Info
	for _, peer := range peers {
		all = append(all, ring.Info{Address: peer, IsSelf: peer == n.self})
	}
	return n.instance.SetPeers(context.Background(), all)
}

func (n *node) Owner(key string) string {
	owner, _ := n.instance.PickPeer(key)
	return owner.PeerInfo().Address
}

func (n *node) Add(name string, bytes int64, load peer.Loader) (peer.Group, error) {
	fill := func(ctx context.Context, key string, sink transport.Sink) error {
		loaded, err := load(ctx, key)
		var absent *peer.Absent
		if errors.As(err, &absent) {
			return &transport.ErrNotFound{Msg: absent.Error()}
		}
		if err != nil {
			return err
		}
		return sink.SetBytes(loaded.Value, loaded.Expire)
	}
	made, err := n.instance.NewGroup(name, bytes, groupcache.GetterFunc(fill))
	return &group{made}, err
}

type group struct{ group groupcache.Group }

func (g *group) Get(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := g.group.Get(ctx, key, transport.AllocatingByteSliceSink(&value))
	if errors.Is(err, &transport.ErrNotFound{}) {
		return nil, &peer.Absent{Key: key}
	}
	return value, err
}

func (g *group) Set(ctx context.Context, key string, value []byte, expire time.Time, hot bool) error {
	return g.group.Set(ctx, key, value, expire, hot)
}

func (g *group) Remove(ctx context.Context, key string) error { return g.group.Remove(ctx, key) }

// Stats are the bytes alone: what a group counts goes to OpenTelemetry.
func (g *group) Stats() any {
	main, hot := g.group.UsedBytes()
	return map[string]any{"main": map[string]any{"Bytes": main}, "hot": map[string]any{"Bytes": hot}}
}
