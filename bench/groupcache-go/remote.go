package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mailgun/groupcache/v2/consistenthash"
)

// serve answers its peer until it is killed.
func serve(self, peer string) {
	ring := pool(self, peer)
	group(64 << 20)
	listener, err := net.Listen("tcp", strings.TrimPrefix(self, "http://"))
	must(err)
	fmt.Printf("listening on %s\n", self)
	fmt.Fprintln(os.Stderr, http.Serve(listener, ring))
	os.Exit(1)
}

// client: the median and the 99th percentile of a get's microseconds, gets a second, and microseconds of CPU time for
// each, by so many at a time. Each key is its peer's, and nothing is kept here.
func client(self, peer string, keys, inFlight, milliseconds int) []float64 {
	pool(self, peer)
	asked := group(0)
	ring := consistenthash.New(50, nil)
	ring.Add(self, peer)
	var remote []string
	for number := 0; len(remote) < keys; number++ {
		if key := key(number); ring.Get(key) == peer {
			remote = append(remote, key)
		}
	}
	for _, key := range remote {
		get(asked, key)
	}
	took := make([][]time.Duration, inFlight)
	began, used := time.Now(), cpu()
	end := began.Add(time.Duration(milliseconds) * time.Millisecond)
	var all sync.WaitGroup
	for caller := range inFlight {
		all.Go(func() {
			// Each has keys of its own: of two who ask for one at once, only one would reach the peer.
			mine := remote[caller*keys/inFlight : (caller+1)*keys/inFlight]
			for turn := 0; ; turn++ {
				before := time.Now()
				if before.After(end) {
					return
				}
				if get(asked, mine[turn%len(mine)]) != valueBytes {
					panic("another value")
				}
				took[caller] = append(took[caller], time.Since(before))
			}
		})
	}
	all.Wait()
	total := time.Since(began)
	used = cpu() - used
	every := slices.Concat(took...)
	slices.Sort(every)
	micros := func(rank int) float64 { return float64(every[rank].Nanoseconds()) / 1e3 }
	gets := float64(len(every))
	return []float64{
		micros(len(every) / 2), micros(len(every) * 99 / 100), gets / total.Seconds(), used.Seconds() * 1e6 / gets,
	}
}

func key(number int) string { return fmt.Sprintf("%032d", number*7919) }
