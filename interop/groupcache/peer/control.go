package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// control does what it is told, as larder does on /cache/GROUP/KEY: GET, PUT (with Cache-Control: max-age, and ?hot
// for a copy here) and DELETE. And, which larder has in other forms or not at all: GET /owner/KEY,
// GET /stats/GROUP, PUT /peers with a peer a line, and POST /burst/GROUP/KEY?gets=N for so many gets at once.
type control struct {
	node   Node
	groups map[string]Group
}

func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := c.answer(r)
	var absent *Absent
	switch {
	case errors.As(err, &absent):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		w.Write(answer)
	}
}

func (c *control) answer(r *http.Request) ([]byte, error) {
	// Neither decoded as a whole nor tidied: a key may hold slashes, escaped and not.
	what, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	switch what {
	case "owner":
		key, err := url.PathUnescape(rest)
		return []byte(c.node.Owner(key)), err
	case "peers":
		list, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		return nil, c.node.SetPeers(strings.Fields(string(list)))
	}
	name, escaped, _ := strings.Cut(rest, "/")
	group, known := c.groups[name]
	key, err := url.PathUnescape(escaped)
	switch {
	case !known:
		return nil, fmt.Errorf("there is no group %q", name)
	case err != nil:
		return nil, err
	case what == "stats":
		return json.Marshal(group.Stats())
	case what == "burst":
		return burst(r, group, key)
	case what == "cache":
		return do(r, group, key)
	}
	return nil, fmt.Errorf("no such command: %s", what)
}

func do(r *http.Request, group Group, key string) ([]byte, error) {
	switch r.Method {
	case http.MethodGet:
		return group.Get(r.Context(), key)
	case http.MethodPut:
		value, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		return nil, group.Set(r.Context(), key, value, expiry(r.Header), r.URL.Query().Has("hot"))
	case http.MethodDelete:
		return nil, group.Remove(r.Context(), key)
	}
	return nil, fmt.Errorf("no such method: %s", r.Method)
}

// burst gets a key many times at once; answers the one value that all have got.
func burst(r *http.Request, group Group, key string) ([]byte, error) {
	gets, err := strconv.Atoi(r.URL.Query().Get("gets"))
	if err != nil {
		return nil, err
	}
	values, errs := make([][]byte, gets), make([]error, gets)
	var all sync.WaitGroup
	for get := range gets {
		all.Go(func() { values[get], errs[get] = group.Get(r.Context(), key) })
	}
	all.Wait()
	for _, value := range values {
		if string(value) != string(values[0]) {
			return nil, fmt.Errorf("two values: %q and %q", values[0], value)
		}
	}
	return values[0], errors.Join(errs...)
}
