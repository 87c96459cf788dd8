// go-micro's registry cache, measured as src/bin/registry measures Larder's: `go-micro SUBJECT` prints numbers. What the
// subjects are, and the order of their numbers, is beside what measures Larder's, in the file of the same name.
package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go-micro.dev/v4/logger"
	"go-micro.dev/v4/registry"
)

func main() {
	// Every registration is logged otherwise, and the log is not what is measured.
	logger.DefaultLogger = logger.NewLogger(logger.WithLevel(logger.ErrorLevel))
	subject, arguments := "", []int{}
	for _, word := range strings.Fields(strings.Join(os.Args[1:], " ")) {
		if number, err := strconv.Atoi(word); err == nil {
			arguments = append(arguments, number)
		} else {
			subject = word
		}
	}
	subjects := map[string]struct {
		arguments int
		measure   func([]int) []float64
	}{
		"hit":     {1, func(a []int) []float64 { return hit(a[0]) }},
		"cold":    {1, func(a []int) []float64 { return cold(a[0]) }},
		"visible": {3, func(a []int) []float64 { return visible(a[0], a[1], a[2]) }},
		"memory":  {2, func(a []int) []float64 { return memory(a[0], a[1]) }},
		"pick":    {1, func(a []int) []float64 { return pick(a[0]) }},
	}
	chosen, known := subjects[subject]
	if !known || len(arguments) != chosen.arguments {
		fmt.Fprintln(os.Stderr, "usage: go-micro hit COUNT | cold CALLERS | visible SERVICES RATE SECONDS |",
			"memory SERVICES COUNT | pick COUNT")
		os.Exit(2)
	}
	for _, figure := range chosen.measure(arguments) {
		fmt.Print(figure, " ")
	}
	fmt.Println()
}

// owned is a text in memory of its own, as what was decoded from JSON is.
func owned(text string) string { return strings.Clone(text) }

func node(service string, number int) *registry.Node {
	return &registry.Node{
		Id:      fmt.Sprintf("%s-6fd4b1de-9c9b-4b9e-8f0a-%012d", service, number),
		Address: fmt.Sprintf("10.%d.%d.%d:8080", number>>16&255, number>>8&255, number&255),
		Metadata: map[string]string{
			owned("protocol"):  owned("grpc"),
			owned("transport"): owned("grpc"),
			owned("registry"):  owned("etcd"),
			owned("zone"):      owned("eu-central-1a"),
			owned("build"):     owned("7f3c9e1d2b4a"),
		},
	}
}

func service(name string, count int) *registry.Service {
	made := &registry.Service{Name: owned(name), Version: owned("1.4.2")}
	for number := range count {
		made.Nodes = append(made.Nodes, node(name, number))
	}
	return made
}

// cpu is the time that this process has used, its garbage collector included.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// rounds gives the least and the median CPU nanoseconds of what is done `times` in a round.
func rounds(times int, work func()) []float64 {
	var figures []float64
	for round := range 8 {
		before := cpu()
		for range times {
			work()
		}
		if figure := float64(cpu()-before) / float64(times); round > 0 {
			figures = append(figures, figure)
		}
	}
	slices.Sort(figures)
	return []float64{figures[0], figures[len(figures)/2]}
}
