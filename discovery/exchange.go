package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A discovery endpoint is one URL of any path, at a service that speaks a small
// part of the v2 keys API. So this is a client of that part: one request, one
// answer, and a judgement whether asking again may help.

// Bounds of an exchange (D13).
const (
	askTimeout   = 5 * time.Second  // for a look and for registering
	pollTimeout  = 60 * time.Second // for one wait; then the list is looked at anew, whatever was missed
	dialTimeout  = 30 * time.Second
	tlsTimeout   = 10 * time.Second
	answerMax    = 1 << 20 // bytes
	messageShown = 200     // bytes of an answer that are shown in errors
)

// Codes of the v2 API that mean something here.
const (
	codeNotFound = 100
	codeExists   = 105
)

// node is a key as the v2 API shows it.
type node struct {
	Key           string `json:"key"`
	Value         string `json:"value"`
	Dir           bool   `json:"dir"`
	Nodes         []node `json:"nodes"`
	CreatedIndex  uint64 `json:"createdIndex"`
	ModifiedIndex uint64 `json:"modifiedIndex"`
}

// answer is what the endpoint said: a node, an error of the v2 API, or, to a
// wait that a relay has cut, nothing.
type answer struct {
	status int
	index  uint64 // X-Etcd-Index; 0 if it was not sent
	node   *node
	code   int
	reason string
}

// endpointClient asks one discovery endpoint.
type endpointClient struct {
	token  Token
	proxy  string // for the log; "": none
	client *http.Client
}

// newEndpointClient makes a client that goes through the HTTP proxy, if there
// is one; proxies of the environment are not for it (D13).
func newEndpointClient(t Token, proxy string) (*endpointClient, error) {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: tlsTimeout,
	}
	if proxy != "" {
		if !strings.Contains(proxy, "://") {
			proxy = "http://" + proxy
		}
		u, err := url.Parse(proxy)
		if err != nil || u.Host == "" {
			return nil, errors.New("--discovery-proxy: allowed is http://host:port, or host:port")
		}
		transport.Proxy, proxy = http.ProxyURL(u), u.Redacted()
	}
	return &endpointClient{t, proxy, &http.Client{Transport: transport}}, nil
}

// name is the endpoint in messages.
func (c *endpointClient) name() string { return c.token.url.Scheme + "://" + c.token.url.Host }

func (c *endpointClient) close() { c.client.CloseIdleConnections() }

// get looks at what is below the token. The read is linearizable: behind a load
// balancer, a member that lags would not know of a registration (D44).
func (c *endpointClient) get(ctx context.Context, below string) (answer, error) {
	u := c.token.at(below)
	u.RawQuery = "quorum=true"
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.ask(ctx, http.MethodGet, u, nil)
}

// create makes a key, unless it is there.
func (c *endpointClient) create(ctx context.Context, below, value string) (answer, error) {
	u := c.token.at(below)
	u.RawQuery = "prevExist=false"
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.ask(ctx, http.MethodPut, u, url.Values{"value": {value}})
}

// watch waits for something to happen below the token, from an index on. It is
// no error if nothing did for as long as it waits.
func (c *endpointClient) watch(ctx context.Context, index uint64) (answer, error) {
	u := c.token.at("")
	u.RawQuery = "recursive=true&wait=true&waitIndex=" + strconv.FormatUint(index, 10)
	poll, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	a, err := c.ask(poll, http.MethodGet, u, nil)
	if poll.Err() != nil && ctx.Err() == nil {
		return answer{}, nil
	}
	return a, err
}

// ask makes one request. Its error is an *unsureError if asking again may help.
func (c *endpointClient) ask(ctx context.Context, method string, u *url.URL, form url.Values) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user := c.token.user; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerMax+1))
	if err != nil {
		return answer{}, c.unreachable(err)
	}
	return c.read(response, body)
}

func (c *endpointClient) unreachable(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &unsureError{fmt.Errorf("error connecting to %s: %w", c.name(), err)}
}

// read makes sense of an answer (D14, D19).
func (c *endpointClient) read(response *http.Response, body []byte) (answer, error) {
	var said struct {
		Node    *node  `json:"node"`
		Code    int    `json:"errorCode"`
		Message string `json:"message"`
		Cause   string `json:"cause"`
	}
	err := json.Unmarshal(body, &said)
	a := answer{status: response.StatusCode, node: said.Node, code: said.Code}
	a.index, _ = strconv.ParseUint(response.Header.Get("X-Etcd-Index"), 10, 64) // 0 without it
	a.reason = said.Message
	if said.Cause != "" {
		a.reason += " (" + said.Cause + ")"
	}
	switch {
	case a.status >= 500 || a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout:
		return a, &unsureError{fmt.Errorf("error connecting to %s: it answers %d %s", c.name(), a.status, shown(body))}
	case a.status == http.StatusOK && len(body) == 0:
		return a, nil
	case len(body) > answerMax:
		return a, c.bad(fmt.Sprintf("its answer has more than %d bytes", answerMax))
	case err == nil && a.status < 300 && a.node != nil, err == nil && a.status >= 400 && a.reason != "":
		return a, nil
	}
	return a, c.bad(fmt.Sprintf("it answers %d %s", a.status, shown(body)))
}

func (c *endpointClient) bad(fact string) error {
	return &TokenError{c.token, ErrBadEndpoint, fact, adviceEndpoint}
}

// refused is the error of an answer that is a plain no.
func (c *endpointClient) refused(a answer) error {
	return &TokenError{c.token, ErrRefused, fmt.Sprintf("%d %s", a.status, a.reason), adviceEndpoint}
}

// shown is the beginning of an answer, fit for a line of the log.
func shown(body []byte) string {
	return strconv.Quote(string(body[:min(len(body), messageShown)]))
}
