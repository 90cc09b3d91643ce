package service

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// writeText answers 200 with a text, as it is.
func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, text) // a client that is gone does not miss it
}

// writeMessage answers with a sentence, in the form that the v2 API has for
// errors that are not about keys.
func writeMessage(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": fmt.Sprintf(format, args...)}) // as above
}

// writeAnswer answers with an error of the store.
func writeAnswer(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	w.Write(a.body) // as above
}

// tooMany asks a client to come back later.
func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeMessage(w, http.StatusTooManyRequests, "too many requests from this address")
}
