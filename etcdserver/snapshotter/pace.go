package snapshotter

import (
	"context"
	"io"
	"time"
)

// pace rests longer than it works: requests go first, and a snapshot takes at most
// a quarter of a processor from them.
type pace struct {
	ctx     context.Context
	hurried bool      // requests wait for it: it does not rest
	began   time.Time // of the work since the last rest
}

// How long it works at once, how many times longer it rests, and the longest rest.
const (
	workAtOnce = 200 * time.Microsecond
	restFactor = 3
	restMax    = 20 * time.Millisecond
)

// begin is called before a piece of work; it fails when the context has ended.
func (p *pace) begin() error {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	return p.ctx.Err()
}

// rest is called after a piece of work.
func (p *pace) rest() {
	if worked := time.Since(p.began); worked >= workAtOnce && !p.hurried {
		time.Sleep(min(restFactor*worked, restMax))
		p.began = time.Now()
	}
}

// pacedWriter counts what passes through it, at a pace. It writes no more when
// the context has ended.
type pacedWriter struct {
	pace
	to    io.Writer
	bytes int64
}

// Write implements io.Writer.
func (w *pacedWriter) Write(p []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	n, err := w.to.Write(p)
	w.bytes += int64(n)
	w.rest()
	return n, err
}

// pacedReader reads at a pace: what its user does between two reads is a part of the
// work. It reads no more when the context has ended.
type pacedReader struct {
	pace
	from io.Reader
}

// Read implements io.Reader.
func (r *pacedReader) Read(p []byte) (int, error) {
	if err := r.begin(); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	r.rest()
	return n, err
}
