package api

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
	Status     int   // 200 for a stream
	Bytes      int64 // of the body; those of a stream that was taken over are not counted
	Start      time.Time
	Duration   time.Duration // until the answer was handed to the connection; until it began for a stream
}

func (h *Handler) serveLogged(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	start := time.Now()
	h.serve(rec, r)
	h.o.AccessLog(Access{
		Method:     r.Method,
		Path:       r.URL.Path,
		RemoteAddr: r.RemoteAddr,
		UserAgent:  r.UserAgent(),
		Status:     rec.status,
		Bytes:      rec.bytes,
		Start:      start,
		Duration:   time.Since(start),
	})
}

// recorder counts an answer on its way.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
