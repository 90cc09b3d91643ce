package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// registryPath is where tokens are kept (D30).
const registryPath = "/v2/keys/_etcd/registry/"

// Bounds of an exchange with the store.
const (
	storeTimeout = 10 * time.Second
	answerMax    = 4 << 20 // bytes; far more than a token can have
)

// store is the v2 cluster behind the service, for what the service asks itself.
type store struct{ door http.RoundTripper }

// answer is what the store said.
type answer struct {
	status int
	node   node
	body   []byte // as it came
}

// node is a key or a directory as the v2 API shows it.
type node struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	TTL   int64  `json:"ttl"` // seconds
	Nodes []node `json:"nodes"`
}

// create makes a token that asks for a number of members. The directory comes
// first, so that whatever happens it has an end.
func (s store) create(ctx context.Context, token, size string, ttl time.Duration) error {
	if ttl > 0 {
		if err := s.change(ctx, http.MethodPut, token, url.Values{"dir": {"true"}, "prevExist": {"false"}, "ttl": {seconds(ttl)}}); err != nil {
			return err
		}
	}
	return s.change(ctx, http.MethodPut, token+"/_config/size", url.Values{"value": {size}, "prevExist": {"false"}})
}

// remove deletes a token.
func (s store) remove(ctx context.Context, token string) error {
	return s.change(ctx, http.MethodDelete, token, url.Values{"recursive": {"true"}})
}

// refresh begins a token's life anew. Who waits for something to happen under
// the token does not notice.
func (s store) refresh(ctx context.Context, token string, ttl time.Duration) error {
	return s.change(ctx, http.MethodPut, token, url.Values{"dir": {"true"}, "prevExist": {"true"}, "refresh": {"true"}, "ttl": {seconds(ttl)}})
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// list gives a token and what has registered under it.
func (s store) list(ctx context.Context, token string) (answer, error) {
	return s.ask(ctx, http.MethodGet, token, url.Values{"quorum": {"true"}})
}

// change is for what has to succeed.
func (s store) change(ctx context.Context, method, key string, query url.Values) error {
	a, err := s.ask(ctx, method, key, query)
	if err == nil && a.status >= 300 {
		err = fmt.Errorf("the store answers %d %s", a.status, strings.TrimSpace(string(a.body)))
	}
	return err
}

func (s store) ask(ctx context.Context, method, key string, query url.Values) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+storeHost+registryPath+key+"?"+query.Encode(), nil)
	if err != nil {
		return answer{}, err
	}
	response, err := s.door.RoundTrip(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, answerMax+1)); err != nil {
		return answer{}, err
	}
	if len(a.body) > answerMax {
		return answer{}, errors.New("the store's answer is too large")
	}
	var said struct {
		Node node `json:"node"`
	}
	if err := json.Unmarshal(a.body, &said); err != nil {
		return answer{}, fmt.Errorf("the store answers %d, and no JSON: %w", a.status, err)
	}
	a.node = said.Node
	return a, nil
}
