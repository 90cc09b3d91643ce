package api

import (
	"net/http"
	"strings"
)

// IsFast tells whether the fast path of a member may serve a request: one of keys. It is answered soon, or hijacked.
func IsFast(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, keysPrefix) }

// IsShort tells whether a request is answered soon, whether its client stays or not: one of keys that is no watch. A
// parameter may hide behind an escape, so a request whose query has escapes is not short.
func IsShort(r *http.Request) bool {
	query := r.URL.RawQuery
	return IsFast(r) && !strings.Contains(query, "wait") && !strings.Contains(query, "%")
}
