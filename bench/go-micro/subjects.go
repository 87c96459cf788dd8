package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go-micro.dev/v4/registry"
	"go-micro.dev/v4/registry/cache"
	"go-micro.dev/v4/selector"
)

const name = "orders"

// cached is go-micro's cache over its registry in memory.
func cached(services ...*registry.Service) (registry.Registry, cache.Cache) {
	memory := registry.NewMemoryRegistry()
	for _, service := range services {
		if err := memory.Register(service); err != nil {
			panic(err)
		}
	}
	return memory, cache.New(memory)
}

func get(from registry.Registry, name string) []*registry.Service {
	found, err := from.GetService(name)
	if err != nil {
		panic(err)
	}
	return found
}

// hit: nanoseconds of a hit on a service of so many instances, the least and the median.
func hit(count int) []float64 {
	_, cache := cached(service(name, count))
	get(cache, name)
	return rounds(200_000/count+2_000, func() { get(cache, name) })
}

// pick: nanoseconds for an instance from go-micro's selector, which asks its cache, at random and in turn.
func pick(count int) []float64 {
	memory, _ := cached(service(name, count))
	chosen := selector.NewSelector(selector.Registry(memory))
	var figures []float64
	for _, strategy := range []selector.Strategy{selector.Random, selector.RoundRobin} {
		figures = append(figures, rounds(200_000/count+1_000, func() {
			next, err := chosen.Select(name, selector.WithStrategy(strategy))
			if err != nil {
				panic(err)
			}
			if _, err := next(); err != nil {
				panic(err)
			}
		})[1])
	}
	return figures
}

// made is a registry that makes a service whenever it is asked for one, and has no news.
type made struct {
	registry.Registry
	count          int
	delay          time.Duration
	reads, watches atomic.Int64
}

func (m *made) GetService(name string, _ ...registry.GetOption) ([]*registry.Service, error) {
	m.reads.Add(1)
	time.Sleep(m.delay)
	return []*registry.Service{service(name, m.count)}, nil
}

func (m *made) Watch(...registry.WatchOption) (registry.Watcher, error) {
	m.watches.Add(1)
	return &silent{make(chan struct{})}, nil
}

type silent struct{ stopped chan struct{} }

func (s *silent) Next() (*registry.Result, error) {
	<-s.stopped
	return nil, errors.New("stopped")
}

func (s *silent) Stop() { close(s.stopped) }

// cold: how often the registry is read, and watched, for so many who ask at once for what is not cached.
func cold(callers int) []float64 {
	registry := &made{count: 10, delay: 5 * time.Millisecond}
	cache := cache.New(registry)
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for range callers {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			get(cache, name)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	// It waits for up to 100 ms before it watches.
	time.Sleep(300 * time.Millisecond)
	return []float64{float64(registry.reads.Load()), float64(registry.watches.Load())}
}

// memory: heap and resident bytes for each instance that the cache holds.
func memory(services, count int) []float64 {
	held := cache.New(&made{count: count})
	heap, resident := inUse()
	for number := range services {
		get(held, fmt.Sprint("service-", number))
	}
	heapAfter, residentAfter := inUse()
	instances := float64(services * count)
	runtime.KeepAlive(held)
	return []float64{(heapAfter - heap) / instances, (residentAfter - resident) / instances}
}

func inUse() (heap, resident float64) {
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			resident = kib * 1024
		}
	}
	return float64(memory.HeapAlloc), resident
}

// An event that is not seen by then is lost.
const lost = 20 * time.Millisecond

type event struct {
	at      time.Time
	service string
	node    string
	there   bool
}

// visible: microseconds until a change of the registry in memory shows in the cache, the median, the 99th percentile
// and the greatest, and how many in a thousand never did. So many services of ten instances take turns in gaining one and losing an
// older one.
func visible(services, rate, seconds int) []float64 {
	var all []*registry.Service
	for number := range services {
		all = append(all, service(fmt.Sprint("service-", number), 10))
	}
	memory, cache := cached(all...)
	for _, service := range all {
		get(cache, service.Name)
	}
	time.Sleep(500 * time.Millisecond)

	total := rate * seconds
	ids := max(4, 256/services)
	change := func(number int) event {
		turn := number / services
		it := event{service: all[number%services].Name, there: turn%2 == 0}
		id := turn / 2 % ids
		if !it.there {
			id = (turn/2 + ids/2) % ids
		}
		it.node = fmt.Sprint("churn-", id)
		return it
	}
	shows := func(it event) bool {
		for _, version := range get(cache, it.service) {
			for _, node := range version.Nodes {
				if node.Id == it.node {
					return it.there
				}
			}
		}
		return !it.there
	}
	var (
		pending []event
		figures []float64
		missing int
	)
	begun := time.Now()
	for sent := 0; sent < total || len(pending) > 0; {
		if sent < total && time.Since(begun) >= time.Duration(sent)*time.Second/time.Duration(rate) {
			it := change(sent)
			fresh := node(it.service, sent)
			fresh.Id = it.node
			changed := &registry.Service{Name: it.service, Version: "1.4.2", Nodes: []*registry.Node{fresh}}
			it.at = time.Now()
			var err error
			if it.there {
				err = memory.Register(changed)
			} else {
				err = memory.Deregister(changed)
			}
			if err != nil {
				panic(err)
			}
			pending = append(pending, it)
			sent++
		}
		if len(pending) == 0 {
			continue
		}
		first := pending[0]
		if took := time.Since(first.at); shows(first) || took > lost {
			figures = append(figures, float64(min(time.Since(first.at), lost))/1e3)
			pending = pending[1:]
			if took > lost {
				missing++
			}
		}
	}
	slices.Sort(figures)
	return []float64{
		figures[len(figures)/2], figures[len(figures)*99/100], figures[len(figures)-1],
		1000 * float64(missing) / float64(total),
	}
}
