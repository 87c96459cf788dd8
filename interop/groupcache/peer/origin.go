package peer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Loader brings a value from the origin.
type Loader func(ctx context.Context, key string) (Loaded, error)

// Loaded is a value, and until when it holds; a zero time is never.
type Loaded struct {
	Value  []byte
	Expire time.Time
}

// Absent is the error of a key that the origin does not have.
type Absent struct{ Key string }

func (a *Absent) Error() string { return fmt.Sprintf("there is no %q", a.Key) }

type origin struct {
	url    string
	client *http.Client
}

func newOrigin(url string) *origin {
	return &origin{url, &http.Client{Transport: manyConnections()}}
}

// manyConnections is a transport that keeps more than two connections to a host.
func manyConnections() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 64
	return transport
}

// load asks for a value, whose Cache-Control says for how many seconds it holds. The key is not in the path, where
// not every key can stand.
func (o *origin) load(ctx context.Context, group, key string) (Loaded, error) {
	request, err := http.NewRequestWithContext(ctx, "GET", o.url+group+"?key="+url.PathEscape(key), nil)
	if err != nil {
		return Loaded{}, err
	}
	answer, err := o.client.Do(request)
	if err != nil {
		return Loaded{}, err
	}
	defer answer.Body.Close()
	value, err := io.ReadAll(answer.Body)
	if err != nil {
		return Loaded{}, err
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return Loaded{value, expiry(answer.Header)}, nil
	case http.StatusNotFound:
		return Loaded{}, &Absent{key}
	default:
		return Loaded{}, fmt.Errorf("the origin answered %s", answer.Status)
	}
}

// expiry reads the max-age of a Cache-Control; without one, it is never.
func expiry(header http.Header) time.Time {
	for directive := range strings.SplitSeq(header.Get("Cache-Control"), ",") {
		if age, found := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); found {
			if seconds, err := strconv.Atoi(age); err == nil {
				return time.Now().Add(time.Duration(seconds) * time.Second)
			}
		}
	}
	return time.Time{}
}
