package answer

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"time"

	"canopy/internal/memory"
)

// A Patient writer gives the client a time-out for each piece, and none for the whole answer.
type Patient struct {
	w        io.Writer
	control  *http.ResponseController
	patience time.Duration
	hold     *memory.Hold // of the answer; see Hold
}

// Patient makes the writer of a long answer.
func (a *Writer) Patient(w http.ResponseWriter) *Patient {
	p := &Patient{w: w, control: http.NewResponseController(w), patience: a.o.Timeout}
	p.renew() // so that Cut comes later
	return p
}

func (p *Patient) renew() { _ = p.control.SetWriteDeadline(time.Now().Add(p.patience)) }

// Cut makes the write of the present piece fail.
func (p *Patient) Cut() { _ = p.control.SetWriteDeadline(time.Unix(1, 0)) }

// ErrCutOff is the error of writing an answer whose client was cut off.
var ErrCutOff = errors.New("the client does not read its answer, and the memory for requests is used up")

// Write implements io.Writer. It fails once the client is cut off.
func (p *Patient) Write(b []byte) (int, error) {
	runtime.Gosched() // short answers go before a long one
	if p.hold.Over() {
		return 0, ErrCutOff
	}
	p.hold.Progress()
	p.renew()
	return p.w.Write(b)
}

// Hold says what the answer holds in memory; from then on a budget that is used up can cut the client off.
func (p *Patient) Hold(hold *memory.Hold) { p.hold = hold }
