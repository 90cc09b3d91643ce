package api

import (
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"canopy/store"
)

// writeListing streams a large answer piece by piece, so that neither its size nor a slow client costs memory. Headers
// are set but for those of the encoding.
func (h *Handler) writeListing(w http.ResponseWriter, r *http.Request, listing *store.Listing) {
	if r.Method == http.MethodHead {
		var n countWriter
		if err := listing.WriteJSON(&n); err == nil {
			w.Header()[headerLength] = []string{strconv.FormatInt(int64(n), 10)}
		}
		return
	}
	setReadDeadline(w, time.Time{})
	out := h.patient(w)
	if !h.o.GzipDisabled {
		w.Header().Add(headerVary, "Accept-Encoding")
		if z := h.compressor(r.Header); z != nil {
			defer h.putBack(z)
			w.Header().Set("Content-Encoding", "gzip")
			z.Reset(out)
			if err := listing.WriteJSON(z); err == nil {
				_ = z.Close() // fails when the client has left
			}
			return
		}
	}
	_ = listing.WriteJSON(out) // fails when the client has left
}

// gzipWriter compresses one listing at a time.
type gzipWriter = gzip.Writer

// compressor takes an idle compressor if the client wants one; nil if not, or if all of them are busy.
func (h *Handler) compressor(header http.Header) *gzipWriter {
	if !acceptsGzip(header.Values("Accept-Encoding")) {
		return nil
	}
	select {
	case z := <-h.gzips:
		if z == nil {
			z, _ = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is a valid one
		}
		return z
	default:
		return nil
	}
}

func (h *Handler) putBack(z *gzipWriter) {
	z.Reset(io.Discard) // keep no answer alive
	h.gzips <- z
}

// acceptsGzip reads Accept-Encoding: gzip or * is named, and not with q=0.
func acceptsGzip(values []string) bool {
	wanted := false
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			coding, q, _ := strings.Cut(item, ";")
			refused := isZeroQuality(q)
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip":
				return !refused
			case "*":
				wanted = !refused
			}
		}
	}
	return wanted
}

func isZeroQuality(q string) bool {
	name, value, _ := strings.Cut(q, "=")
	weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return strings.EqualFold(strings.TrimSpace(name), "q") && err == nil && weight == 0
}

// patientWriter gives the client a while for each piece, instead of one for the whole answer.
type patientWriter struct {
	w        io.Writer
	control  *http.ResponseController
	patience time.Duration
}

func (h *Handler) patient(w http.ResponseWriter) *patientWriter {
	return &patientWriter{w, http.NewResponseController(w), h.o.WriteTimeout}
}

func (p *patientWriter) Write(b []byte) (int, error) {
	runtime.Gosched() // a long answer lets the short ones go first
	_ = p.control.SetWriteDeadline(time.Now().Add(p.patience))
	return p.w.Write(b)
}

// countWriter counts what is written.
type countWriter int64

func (c *countWriter) Write(b []byte) (int, error) {
	*c += countWriter(len(b))
	return len(b), nil
}
