package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"

	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/api/form"
	"canopy/internal/memory"
	"canopy/store"
	"canopy/store/nodejson"
)

const (
	formType = "application/x-www-form-urlencoded"

	// smallBodyBytes is the size up to which a body needs no time-out of its own.
	smallBodyBytes = answer.KeptBytes

	// freeBodyBytes is the size up to which the memory of the connection covers a body. A larger body counts bodyCopies
	// times: in the buffer, as a value, as a command in the log, and in the event.
	freeBodyBytes = 4 << 10
	bodyCopies    = 4

	// drainBytes is how much of a body that is too large is still read, so that the client receives the refusal and not a
	// reset connection.
	drainBytes = 32 << 20
)

var (
	errFormTooLarge = errors.New("http: POST too large") // K14
	errBodyTooSlow  = errors.New("the body did not arrive in time")
)

// params reads query and form, and checks them (K9, K10). Its error is one for writeKeysError. The caller gives taken back
// to the budget of memory, also after an error.
func (h *Handler) params(w http.ResponseWriter, r *http.Request) (_ form.Params, taken int64, err error) {
	var f form.Fields
	if taken, err = h.scanBody(&f, w, r); err != nil {
		return form.Params{}, taken, asFormError(err)
	}
	p, err := h.check(&f, r)
	if err == nil && len(p.Value) > smallBodyBytes { // the value may be six times as long in the event
		taken, err = h.takeMore(taken, int64(len(p.Value))*(bodyCopies-1)+int64(nodejson.EscapedLen(p.Value)))
	}
	return p, taken, err
}

// check adds the query, and checks all parameters.
func (h *Handler) check(f *form.Fields, r *http.Request) (form.Params, error) {
	if r.URL.RawQuery != "" {
		if err := form.Scan(f, r.URL.RawQuery); err != nil {
			return form.Params{}, asFormError(err)
		}
	}
	p, err := f.Parse(r.Method)
	if err != nil {
		return form.Params{}, err
	}
	if limit := h.o.ValueBytesMax; limit > 0 && int64(len(p.Value)) > limit {
		h.o.Metrics.Refused("value")
		cause := fmt.Sprintf("the value has %d bytes, more than the limit of %d", len(p.Value), limit)
		return form.Params{}, &store.Error{Code: store.CodeInvalidForm, Cause: cause}
	}
	return p, nil
}

// asFormError gives a fault of the form code 210 (K16 row 1). A lack of memory is not a fault of the form.
func asFormError(err error) error {
	if errors.Is(err, memory.ErrUsedUp) {
		return err
	}
	return &store.Error{Code: store.CodeInvalidForm, Cause: err.Error()}
}

// scanBody takes the fields of a form body of PUT or POST. Any other body is ignored (K12), but must arrive completely. A
// media type that cannot be parsed is refused (K14).
func (h *Handler) scanBody(f *form.Fields, w http.ResponseWriter, r *http.Request) (taken int64, err error) {
	isForm := r.Method == http.MethodPut || r.Method == http.MethodPost
	if isForm {
		if isForm, err = hasForm(r.Header); err != nil {
			return 0, err
		}
	}
	if r.Body == nil || r.Body == http.NoBody {
		return 0, nil
	}
	if !isForm {
		return 0, h.skipBody(w, r)
	}
	h.limitBodyTime(w, r)
	buffer := h.answers.Buffer()
	defer h.answers.Release(buffer)
	taken, err = h.readBody(buffer, r)
	if err != nil {
		return taken, h.bodyFault(w, r, int64(len(*buffer)), err)
	}
	return taken, form.Scan(f, *buffer)
}

// skipBody reads a body without a meaning to its end. If the client could not send all of it, the request is not carried
// out: the client may have wanted something else.
func (h *Handler) skipBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength > h.o.FormBytesMax {
		h.drain(r)
		return errFormTooLarge
	}
	h.limitBodyTime(w, r)
	n, err := io.Copy(io.Discard, io.LimitReader(r.Body, h.o.FormBytesMax+1))
	switch {
	case err != nil:
		return h.bodyFault(w, r, n, err)
	case n > h.o.FormBytesMax:
		h.drain(r)
		return errFormTooLarge
	}
	return nil
}

// limitBodyTime sets a time-out for a large body. The time-out of the whole request covers a small one.
func (h *Handler) limitBodyTime(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength < 0 || r.ContentLength > smallBodyBytes {
		setReadDeadline(w, time.Now().Add(h.o.BodyTimeout))
	}
}

// bodyFault tells why a body could not be read to its end; n bytes of it arrived.
func (h *Handler) bodyFault(w http.ResponseWriter, r *http.Request, n int64, err error) error {
	if errors.Is(err, errFormTooLarge) || errors.Is(err, memory.ErrUsedUp) {
		return err
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // the start of the next request is not known
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		h.o.Metrics.Refused("slow_body")
		return errBodyTooSlow
	case n < r.ContentLength, r.Context().Err() != nil: // trailers and HTTP/2 have errors of their own for it
		return io.ErrUnexpectedEOF
	}
	return err
}

// hasForm tells whether the body is a form, by its media type.
func hasForm(header http.Header) (bool, error) {
	types := header[answer.HeaderType]
	if len(types) == 0 || types[0] == "" {
		return false, nil
	}
	if types[0] == formType {
		return true, nil
	}
	mediaType, _, err := mime.ParseMediaType(types[0])
	return mediaType == formType, err
}

// readBody reads the body to its end. Buffer and memory grow with what has arrived, not with what was announced. The caller
// gives taken back.
func (h *Handler) readBody(buffer *[]byte, r *http.Request) (taken int64, err error) {
	limit := h.o.FormBytesMax
	if r.ContentLength > limit {
		h.drain(r)
		return 0, errFormTooLarge
	}
	b := *buffer
	for {
		if len(b) >= freeBodyBytes && int64(len(b))*bodyCopies >= taken {
			if taken, err = h.takeMore(taken, 2*int64(len(b))*bodyCopies); err != nil {
				h.drain(r)
				return taken, err
			}
		}
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(2*int64(cap(b)), limit+1)), b...)
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*buffer = b
		switch {
		case int64(len(b)) > limit:
			h.drain(r)
			return taken, errFormTooLarge
		case errors.Is(err, io.EOF):
			return taken, nil
		case err != nil:
			return taken, err
		}
	}
}

// takeMore takes the memory that a request needs beyond taken, and gives the sum.
func (h *Handler) takeMore(taken, need int64) (int64, error) {
	more := h.o.Memory.Share(need) - taken
	if more <= 0 {
		return taken, nil
	}
	if !h.o.Memory.Take(more) {
		return taken, memory.ErrUsedUp
	}
	return taken + more, nil
}

// drain reads on for a while after a refusal. A client that waits for "100 Continue" does not get it.
func (h *Handler) drain(r *http.Request) {
	h.o.Metrics.Refused("body")
	if r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, r.Body, drainBytes)
	}
}

// setReadDeadline sets the deadline for reading from the client; the zero time removes it. It has no effect in tests without
// a connection.
func setReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t)
}
