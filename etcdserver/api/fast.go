package api

import (
	"net/http"
	"strings"
)

// IsFast tells whether a request is answered soon, whether its client stays or not: a request of keys that is no watch.
// The server may use its fast path for it. A parameter may hide behind an escape, so a query with escapes is not fast.
func IsFast(r *http.Request) bool {
	query := r.URL.RawQuery
	return strings.HasPrefix(r.URL.Path, keysPrefix) && !strings.Contains(query, "wait") && !strings.Contains(query, "%")
}
