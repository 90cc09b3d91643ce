package service

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"canopy/client"
)

// writeText answers 200 with a text, as it is.
func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, text) // fails if the client has left
}

// writeMessage answers with a message, in the form of the v2 API for errors
// that are not about keys.
func writeMessage(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": fmt.Sprintf(format, args...)}) // as above
}

// writeError forwards an error of the store (D32).
func writeError(w http.ResponseWriter, e *client.Error) {
	if e.Code == 0 {
		writeMessage(w, e.Status, "%s", e.Message)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Etcd-Index", strconv.FormatUint(e.Index, 10))
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(struct { // as above
		Code    client.Code `json:"errorCode"`
		Message string      `json:"message"`
		Cause   string      `json:"cause"`
		Index   uint64      `json:"index"`
	}{e.Code, e.Message, e.Cause, e.Index})
}

// noMemory asks a client to come back when there is memory again.
func noMemory(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeMessage(w, http.StatusServiceUnavailable, "the memory for requests is used up")
}

// tooMany asks a client to come back later.
func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeMessage(w, http.StatusTooManyRequests, "too many requests from this address")
}
