package client

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Every answer of a server is either complete, an error of the API, or not of the API.
func FuzzAnswer(f *testing.F) {
	f.Add(200, `{"action":"get","node":{"key":"/t","dir":true,"nodes":[{"key":"/t/1a","value":"v","createdIndex":5},null]}}`)
	f.Add(200, `{"node":null}`)
	f.Add(404, `{"errorCode":100,"message":"Key not found","cause":"/t"}`)
	f.Add(500, `<html>`)
	f.Add(501, ``)
	f.Add(200, ``)
	c := &Client{config: Config{}.withDefaults()}
	f.Fuzz(func(t *testing.T, status int, body string) {
		var r Response
		answer := &http.Response{StatusCode: status, Header: http.Header{"X-Etcd-Index": {"7"}}, Body: io.NopCloser(strings.NewReader(body)), Request: &http.Request{}}
		err := c.read(answer, &call{method: http.MethodGet, into: &r, check: r.whole})
		var said *Error
		var garbage *AnswerError
		switch {
		case err == nil && (status >= 300 || r.Action == "" || r.Node != nil && r.Node.hasNil()):
			t.Errorf("%d %q was taken for %+v", status, body, r)
		case errors.As(err, &said) && (status < 300 || said.Status != status || said.Message == "" && status != http.StatusNotImplemented):
			t.Errorf("%d %q was taken for %+v", status, body, said)
		case errors.As(err, &garbage) && garbage.Err == nil:
			t.Errorf("%d %q: %+v has no reason", status, body, garbage)
		}
	})
}
