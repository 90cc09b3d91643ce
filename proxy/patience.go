package proxy

import (
	"errors"
	"net/http"
	"time"

	"canopy/internal/memory"
)

// freeBytes is the size up to which the memory of the connection covers an answer.
const freeBytes = 16 << 10

// errCutOff is the error of writing an answer whose client was cut off.
var errCutOff = errors.New("proxy: the client does not read its answer, and the memory for requests is used up")

// A patientWriter gives a client its time-out for each piece of an answer, unless there is no memory left to wait with.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	hold    *memory.Hold
}

// newWriter makes the writer of an answer that takes so much memory while it is written. False if there is not enough, and
// the request can be repeated.
func (p *Proxy) newWriter(w http.ResponseWriter, q *request, bytes int64) (*patientWriter, bool) {
	if !q.repeatable() {
		return p.newWriterAnyway(w, bytes), true
	}
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	hold, ok := p.o.Memory.Hold(out.answer(bytes))
	out.hold = hold
	return out, ok
}

// newWriterAnyway is newWriter for an answer that is in memory already.
func (p *Proxy) newWriterAnyway(w http.ResponseWriter, bytes int64) *patientWriter {
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
	out.hold = p.o.Memory.HoldAnyway(out.answer(bytes))
	return out
}

// answer describes what the client holds in memory. It sets the first deadline, so that cut comes later.
func (out *patientWriter) answer(bytes int64) memory.Answer {
	out.renew()
	return memory.Answer{Own: bytes, Cut: func() { _ = out.control.SetWriteDeadline(time.Unix(1, 0)) }}
}

func (out *patientWriter) renew() { _ = out.control.SetWriteDeadline(time.Now().Add(clientTimeout)) }

// write writes a piece.
func (out *patientWriter) write(b []byte) error {
	if out.hold.Over() {
		return errCutOff
	}
	out.hold.Progress()
	out.renew()
	_, err := out.w.Write(b)
	return err
}

func (out *patientWriter) end() { out.hold.End() }
