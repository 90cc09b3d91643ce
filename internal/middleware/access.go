package middleware

import (
	"net/http"
	"time"
)

// Access is what an access log tells of one request (S38).
type Access struct {
	Method     string
	Path       string // decoded, as sent
	RemoteAddr string
	UserAgent  string
	Status     int   // 200 for a stream; 0 if the connection was cut before there was a status
	Bytes      int64 // of the body; those of a hijacked stream are not counted
	Start      time.Time
	Duration   time.Duration // until the answer was handed to the connection; until it began for a hijacked stream
}

// Log has a request served, and tells of it afterwards, even if the handler panics to cut the connection.
func Log(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc, tell func(Access)) {
	rec, start, returned := &recorder{ResponseWriter: w}, time.Now(), false
	defer func() {
		if returned && rec.status == 0 {
			rec.status = http.StatusOK // net/http sends it, or the connection was hijacked for a stream
		}
		tell(Access{
			Method:     r.Method,
			Path:       r.URL.Path,
			RemoteAddr: r.RemoteAddr,
			UserAgent:  r.UserAgent(),
			Status:     rec.status,
			Bytes:      rec.bytes,
			Start:      start,
			Duration:   time.Since(start),
		})
	}()
	serve(rec, r)
	returned = true
}

// recorder counts an answer on its way.
type recorder struct {
	http.ResponseWriter
	status int // 0: none was sent yet
	bytes  int64
}

// WriteHeader implements http.ResponseWriter. Informational answers do not count.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
