// Package audit writes the audit log: one line of JSON for each change that a client asked for, for each refusal and, if that
// is wanted, for each read. It tells who, from where, what and how it ended, and never a value or a password.
//
//	request ──▶ Entry in its context ──▶ filled in by who checks and answers ──▶ Log.Add ──▶ queue ──▶ file
//
// A request never waits for the file: what the queue cannot take is dropped and counted, and the log itself says how many
// entries are missing. Lines are not synced to disk one by one: a power cut may take the last ones.
package audit

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Outcomes of a request.
const (
	Done    = "done"
	Refused = "refused" // for want of credentials or of a right, or by a guard
	Failed  = "failed"  // nothing is changed
	Unknown = "unknown" // it may be done nevertheless
)

// Entry is one line. Its texts are bounded by textMax.
type Entry struct {
	Time         time.Time `json:"time"`
	ID           string    `json:"id"`                      // X-Request-Id of the client, or made here
	User         string    `json:"user,omitempty"`          // as the request says; "" while users do not matter
	By           string    `json:"by,omitempty"`            // "password", "token", "certificate", or "nothing": a guest
	From         string    `json:"from"`                    // address and port
	ForwardedFor string    `json:"forwarded_for,omitempty"` // what a proxy says; anybody can write it
	Method       string    `json:"method"`
	Path         string    `json:"path"` // decoded, without the query
	Outcome      string    `json:"outcome"`
	Status       int       `json:"status"`
	Index        uint64    `json:"index,omitempty"` // X-Etcd-Index
}

// textMax bounds each text of an entry, in bytes. What is longer is cut.
const (
	textMax = 8 << 10
	idMax   = 64
)

type key struct{}

// With gives a context that carries an entry, for Of.
func With(ctx context.Context, e *Entry) context.Context { return context.WithValue(ctx, key{}, e) }

// Of is the entry of a request; nil: it is not audited.
func Of(ctx context.Context) *Entry {
	e, _ := ctx.Value(key{}).(*Entry)
	return e
}

// begin fills in what a request says itself.
func begin(r *http.Request, id string, now time.Time) *Entry {
	return &Entry{
		Time: now.UTC(), ID: id, From: r.RemoteAddr, ForwardedFor: cut(r.Header.Get("X-Forwarded-For")),
		Method: cut(r.Method), Path: cut(r.URL.Path),
	}
}

// bytes is the size of the texts, which clients choose.
func (e *Entry) bytes() int64 {
	return int64(len(e.ID) + len(e.User) + len(e.From) + len(e.ForwardedFor) + len(e.Method) + len(e.Path))
}

// isRead tells whether a request can change nothing.
func (e *Entry) isRead() bool {
	return e.Method == http.MethodGet || e.Method == http.MethodHead || e.Method == http.MethodOptions
}

// end fills in how a request ended.
func (e *Entry) end(status int, index uint64) {
	e.Status, e.Index, e.User = status, index, cut(e.User)
	switch {
	case e.Outcome != "":
	case status == http.StatusUnauthorized, status == http.StatusMisdirectedRequest:
		e.Outcome = Refused
	case status >= 200 && status < 400:
		e.Outcome = Done
	case status == 0, status == http.StatusInternalServerError:
		e.Outcome = Unknown
		if e.isRead() {
			e.Outcome = Failed
		}
	default:
		e.Outcome = Failed
	}
}

// cut bounds a text, and replaces what is no UTF-8. It copies the text, which may be a part of a large request.
func cut(s string) string {
	if len(s) > textMax {
		s = s[:textMax] + "…"
	}
	if !utf8.ValidString(s) {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.Clone(s)
}

// isID tells whether what a client gives as the ID of its request can be used: up to 64 letters, digits and - _ . : / = +.
func isID(s string) bool {
	for _, c := range []byte(s) {
		isLetter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !isLetter && !strings.ContainsRune("-_.:/=+", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= idMax
}
