package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
)

// A call is one request, at any endpoint that serves it.
type call struct {
	method string
	path   string // escaped, with the query
	kind   string // Content-Type of the body, if there is one
	body   string
	into   any          // where the JSON of a successful answer is decoded; nil: it is not
	check  func() error // tells what into lacks; nil: nothing
}

const (
	kindForm = "application/x-www-form-urlencoded"
	kindJSON = "application/json"
)

// writes tells whether the call may change something, and so must not be made twice.
func (c *call) writes() bool { return c.method != http.MethodGet && c.method != http.MethodHead }

// do makes a call at one endpoint after the other until one of them decides it.
func (c *Client) do(ctx context.Context, what call) (http.Header, error) {
	var failed ClusterError
	for _, endpoint := range c.Endpoints() {
		header, err := c.try(ctx, endpoint, &what)
		if err == nil || isFinal(err) {
			c.prefer(endpoint)
			return header, err
		}
		failed.Failures = append(failed.Failures, Failure{endpoint, err})
		if errors.Is(ctx.Err(), context.Canceled) {
			break // says nothing about the endpoint
		}
		c.leave(endpoint) // also when the time is over: it may be dead, and the next call begins with another one
		if errors.Is(err, ErrUnknownOutcome) || ctx.Err() != nil {
			break
		}
	}
	return nil, &failed
}

// isFinal tells whether another endpoint of the cluster would answer the same.
func isFinal(err error) bool {
	var said *Error
	return errors.As(err, &said) && said.Status < 500 && !errors.Is(err, ErrUnknownOutcome)
}

// try makes a call at one endpoint. The error of a call that writes matches ErrUnknownOutcome unless nothing was done for sure.
func (c *Client) try(ctx context.Context, endpoint string, what *call) (http.Header, error) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	request, err := c.request(httptrace.WithClientTrace(ctx, trace), endpoint, what)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		err = errors.Unwrap(err) // a *url.Error, which repeats the URL
		return nil, what.doubt(err, sent.Load())
	}
	defer answer.Body.Close()
	if err := c.read(answer, what); err != nil {
		return nil, what.doubt(err, isUndecided(answer.StatusCode))
	}
	return answer.Header, nil
}

// isUndecided tells by the status of an unsuccessful answer whether something may have been done: the server or a gateway
// stopped waiting, or the successful answer was broken. Other statuses over 500 mean that the server did not begin: it is
// starting (503), serves only reads (501), or has no room (507).
func isUndecided(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return status < 300
}

// doubt marks the error of a call that may have changed something.
func (c *call) doubt(err error, undecided bool) error {
	if undecided && c.writes() {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return err
}

func (c *Client) request(ctx context.Context, endpoint string, what *call) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if what.body != "" {
		body = strings.NewReader(what.body)
	}
	request, err := http.NewRequestWithContext(ctx, what.method, endpoint+what.path, body)
	if err != nil {
		return nil, err
	}
	if what.kind != "" {
		request.Header.Set("Content-Type", what.kind)
	}
	switch {
	case c.config.Token != "":
		request.Header.Set("Authorization", "Bearer "+c.config.Token)
	case c.config.Username != "" || c.config.Password != "":
		request.SetBasicAuth(c.config.Username, c.config.Password)
	}
	return request, nil
}

// read decodes an answer.
func (c *Client) read(answer *http.Response, what *call) error {
	body, err := io.ReadAll(io.LimitReader(answer.Body, c.config.AnswerBytes+1))
	if err != nil {
		return fmt.Errorf("the answer was cut off: %w", err)
	}
	broken := &AnswerError{Status: answer.StatusCode, Type: answer.Header.Get("Content-Type"), Text: string(body[:min(len(body), 200)]), Bytes: len(body)}
	switch {
	case int64(len(body)) > c.config.AnswerBytes:
		broken.Err = fmt.Errorf("more than the %d bytes that are read", c.config.AnswerBytes)
		return broken
	case answer.StatusCode >= 300:
		return refusal(answer, body, broken)
	case what.into == nil:
		return nil
	}
	broken.Err = json.Unmarshal(body, what.into)
	if broken.Err == nil && what.check != nil {
		broken.Err = what.check()
	}
	if broken.Err != nil {
		return broken
	}
	return nil
}

// refusal is the error of an unsuccessful answer: of the keys API, of the others, or of a HEAD, which has only its status.
func refusal(answer *http.Response, body []byte, broken *AnswerError) error {
	said := &Error{Status: answer.StatusCode, Index: indexOf(answer.Header)}
	if answer.Request.Method == http.MethodHead || answer.StatusCode == http.StatusNotImplemented && len(body) == 0 {
		said.Message = http.StatusText(answer.StatusCode)
		return said
	}
	var text struct {
		ErrorCode Code
		Message   string
		Cause     string
		Index     uint64
	}
	if broken.Err = json.Unmarshal(body, &text); broken.Err != nil {
		return broken
	}
	if text.Message == "" {
		broken.Err = errors.New("it has no message")
		return broken
	}
	said.Code, said.Message, said.Cause = text.ErrorCode, text.Message, text.Cause
	if text.Index != 0 {
		said.Index = text.Index
	}
	return said
}

func indexOf(h http.Header) uint64 { return number(h, "X-Etcd-Index", 10) }

func clusterOf(h http.Header) uint64 { return number(h, "X-Etcd-Cluster-Id", 16) }

// number is the number in a header; 0 if it has none.
func number(h http.Header, name string, base int) uint64 {
	n, err := strconv.ParseUint(h.Get(name), base, 64)
	if err != nil {
		return 0
	}
	return n
}
