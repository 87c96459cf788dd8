// mailgun/groupcache v2, measured as src/bin/groupcache measures Larder's: `groupcache-go SUBJECT` prints numbers.
// What the subjects are, and the order of their numbers, is beside what measures Larder's.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/mailgun/groupcache/v2"
)

const usage = `usage: groupcache-go hit KEYS | memory ENTRIES | spread PEERS KEYS |
serve SELF PEER | client SELF PEER KEYS INFLIGHT MILLISECONDS`

func main() {
	words := strings.Fields(strings.Join(os.Args[1:], " "))
	if len(words) == 0 {
		words = []string{""}
	}
	subject, rest := words[0], words[1:]
	arguments := map[string]int{"hit": 1, "memory": 1, "spread": 2, "serve": 2, "client": 5}
	if count, known := arguments[subject]; !known || count != len(rest) {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if subject == "serve" {
		serve(rest[0], rest[1])
	}
	var figures []float64
	switch subject {
	case "hit":
		figures = hit(number(rest[0]))
	case "memory":
		figures = memory(number(rest[0]))
	case "spread":
		figures = []float64{spread(number(rest[0]), number(rest[1]))}
	case "client":
		figures = client(rest[0], rest[1], number(rest[2]), number(rest[3]), number(rest[4]))
	}
	for _, figure := range figures {
		fmt.Print(figure, " ")
	}
	fmt.Println()
}

func number(word string) int {
	number, err := strconv.Atoi(word)
	must(err)
	return number
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

const valueBytes = 100

// group is a group whose getter makes a value of any key.
func group(bytes int64) *groupcache.Group {
	value := []byte(strings.Repeat("x", valueBytes))
	made := func(_ context.Context, _ string, sink groupcache.Sink) error {
		return sink.SetBytes(value, none)
	}
	return groupcache.NewGroup("bench", bytes, groupcache.GetterFunc(made))
}

func get(from *groupcache.Group, key string) int {
	var view groupcache.ByteView
	must(from.Get(context.Background(), key, groupcache.ByteViewSink(&view)))
	return view.Len()
}

// pool is a pool of two, with connections enough that none is opened again and again: by itself, Go keeps two.
func pool(self, peer string) *groupcache.HTTPPool {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 256
	choose := func(context.Context) http.RoundTripper { return transport }
	made := groupcache.NewHTTPPoolOpts(self, &groupcache.HTTPPoolOptions{Transport: choose})
	made.Set(self, peer)
	return made
}
