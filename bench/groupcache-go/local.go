package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mailgun/groupcache/v2/consistenthash"
)

var none time.Time

// cpu is the time that this process has used, its garbage collector included.
func cpu() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// hit: nanoseconds of a get of one of so many keys that are in memory, the least and the median of fifteen rounds.
func hit(count int) []float64 {
	asked := group(1 << 30)
	keys := make([]string, count)
	for number := range keys {
		keys[number] = key(number)
		get(asked, keys[number])
	}
	const gets = 1_000_000
	var figures []float64
	for round := range 16 {
		before := cpu()
		for turn := range gets {
			if get(asked, keys[turn*31%count]) != valueBytes {
				panic("another value")
			}
		}
		if figure := float64(cpu()-before) / gets; round > 0 {
			figures = append(figures, figure)
		}
	}
	slices.Sort(figures)
	return []float64{figures[0], figures[len(figures)/2]}
}

// memory: resident and heap bytes for each of so many entries, of a key of 32 bytes and a value of 64.
func memory(entries int) []float64 {
	held := group(1 << 30)
	heap, resident := inUse()
	for number := range entries {
		value := []byte(strings.Repeat("x", 64))
		must(held.Set(context.Background(), key(number), value, none, false))
	}
	heapAfter, residentAfter := inUse()
	runtime.KeepAlive(held)
	return []float64{(residentAfter - resident) / float64(entries), (heapAfter - heap) / float64(entries)}
}

func inUse() (heap, resident float64) {
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			resident = kib * 1024
		}
	}
	return float64(memory.HeapAlloc), resident
}

// spread: how many keys `user:N` the most loaded of so many peers owns, for each of the least loaded.
func spread(peers, keys int) float64 {
	ring := consistenthash.New(50, nil)
	owned := map[string]int{}
	for number := range peers {
		peer := fmt.Sprintf("http://10.0.0.%d:8080", number+1)
		owned[peer] = 0
		ring.Add(peer)
	}
	for number := range keys {
		owned[ring.Get(fmt.Sprintf("user:%d", number))]++
	}
	least, most := keys, 0
	for _, count := range owned {
		least, most = min(least, count), max(most, count)
	}
	return float64(most) / float64(least)
}
