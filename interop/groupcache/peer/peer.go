// Package peer is what a peer is here, whatever its family: a node of a ring that loads from an HTTP origin, and a
// control port of its own by which it is told what to do. Each family is a program, because no two of them can be
// linked into one: their messages have the same names.
package peer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Node is a node of a ring, in one family.
type Node interface {
	// Handler answers peers, whatever their path looks like: Go's mux would redirect some keys.
	http.Handler
	SetPeers(peers []string) error
	// Owner says who owns a key.
	Owner(key string) string
	// Add makes a group that is filled by the loader.
	Add(name string, bytes int64, load Loader) (Group, error)
}

// Group is a group of a node.
type Group interface {
	Get(ctx context.Context, key string) ([]byte, error)
	// Set gives a key a value; a zero time is never.
	Set(ctx context.Context, key string, value []byte, expire time.Time, hot bool) error
	Remove(ctx context.Context, key string) error
	// Stats says what the family tells of a group.
	Stats() any
}

// Settings are what a node is made with.
type Settings struct {
	// Self is what the node is called in the ring.
	Self     string
	Replicas int
}

// Main runs a node until standard input ends. Its first line says where its control port is.
func Main(build func(Settings) (Node, error)) {
	self := flag.String("self", "", "what this node is called in the ring")
	listen := flag.String("listen", "", "where peers are answered")
	peers := flag.String("peers", "", "all nodes of the ring, with commas")
	origin := flag.String("origin", "", "a URL, before GROUP?key=KEY")
	groups := flag.String("groups", "", "the groups that this node has, with commas")
	bytes := flag.Int64("bytes", 64<<20, "how much each group may hold")
	replicas := flag.Int("replicas", 50, "points of the ring for each peer")
	flag.Parse()
	node, err := build(Settings{*self, *replicas})
	if err == nil {
		var made *control
		if made, err = prepared(node, split(*peers), newOrigin(*origin), split(*groups), *bytes); err == nil {
			err = serve(*listen, made)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// prepared is a node with its peers and its groups.
func prepared(node Node, peers []string, origin *origin, groups []string, bytes int64) (*control, error) {
	if err := node.SetPeers(peers); err != nil {
		return nil, err
	}
	made := map[string]Group{}
	for _, name := range groups {
		load := func(ctx context.Context, key string) (Loaded, error) { return origin.load(ctx, name, key) }
		group, err := node.Add(name, bytes, load)
		if err != nil {
			return nil, err
		}
		made[name] = group
	}
	return &control{node, made}, nil
}

// serve answers peers and whoever gives orders.
func serve(listen string, control *control) error {
	ring, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	ordered, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 3)
	// groupcache-go panics when it is asked for a group that it does not have, which happens here.
	quiet := log.New(io.Discard, "", 0)
	go func() { ended <- (&http.Server{Handler: control.node, ErrorLog: quiet}).Serve(ring) }()
	go func() { ended <- http.Serve(ordered, control) }()
	// Whoever started this one has ended.
	go func() { io.Copy(io.Discard, os.Stdin); ended <- errors.New("standard input has ended") }()
	fmt.Printf("listening on http://%s\n", ordered.Addr())
	return <-ended
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
