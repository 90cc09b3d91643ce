package ctl

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// shown shows each request as a command for a shell, before it is made (C40, C41). Secrets are left out.
type shown struct {
	next    http.RoundTripper
	session *session
}

// RoundTrip implements http.RoundTripper.
func (t *shown) RoundTrip(r *http.Request) (*http.Response, error) {
	words := []string{"curl", "-X", r.Method, quoted(r.URL.String())}
	for _, file := range []struct{ option, name string }{
		{"--cacert", t.session.flagOr("ca-file", t.session.caFile, "ETCDCTL_CA_FILE")},
		{"--cert", t.session.flagOr("cert-file", t.session.certFile, "ETCDCTL_CERT_FILE")},
		{"--key", t.session.flagOr("key-file", t.session.keyFile, "ETCDCTL_KEY_FILE")},
	} {
		if file.name != "" {
			words = append(words, file.option, quoted(file.name))
		}
	}
	if name, _, hasLogin := r.BasicAuth(); hasLogin {
		words = append(words, "-u", quoted(name))
	} else if r.Header.Get("Authorization") != "" {
		words = append(words, "-H", quoted("Authorization: Bearer ***"))
	}
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if kind := r.Header.Get("Content-Type"); kind != "application/x-www-form-urlencoded" {
			words = append(words, "-H", quoted("Content-Type: "+kind))
		}
		words = append(words, "-d", quoted(withoutPassword(body)))
	}
	t.session.tell("cURL Command: %s", strings.Join(words, " "))
	return t.next.RoundTrip(r)
}

// quoted is a word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// withoutPassword hides the password in the JSON of a user.
func withoutPassword(body []byte) string {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil || fields["password"] == nil {
		return string(body)
	}
	fields["password"] = "***"
	b, err := json.Marshal(fields)
	if err != nil {
		return "***"
	}
	return string(b)
}
