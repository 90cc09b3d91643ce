package api

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"canopy/etcdserver/api/answer"
	"canopy/internal/memory"
	"canopy/store"
)

// listingBytes is the memory of a listing while it is written: its pieces, in the encoder and in the connection.
const listingBytes = store.WriteBytes + answer.PieceBytes

// writeListing streams a large answer piece by piece, so that its size takes no memory. The nodes that a slow client holds
// in memory count against the budget; if that is used up, nothing is written.
func (h *Handler) writeListing(w http.ResponseWriter, r *http.Request, index store.Index, listing *store.Listing) error {
	if r.Method == http.MethodHead {
		var n countWriter
		if err := listing.WriteJSON(&n); err == nil {
			w.Header()[answer.HeaderLength] = []string{strconv.FormatInt(int64(n), 10)}
		}
		h.answers.PutPositions(w.Header(), index)
		return nil
	}
	out := h.answers.Patient(w)
	answer := memory.Answer{Own: listingBytes, Cut: out.Cut}
	value, bytes, isFile := listing.File()
	if isFile {
		answer.Shared, answer.Bytes = value, bytes
	}
	hold, ok := h.o.Memory.Hold(answer)
	if !ok {
		return memory.ErrUsedUp
	}
	defer hold.End()
	out.Hold(hold)
	h.answers.PutPositions(w.Header(), index)
	setReadDeadline(w, time.Time{})
	if !isFile && !h.o.GzipDisabled {
		w.Header().Add("Vary", "Accept-Encoding")
		if z := h.compressor(r.Header); z != nil {
			defer h.putBack(z)
			w.Header().Set("Content-Encoding", "gzip")
			z.Reset(out)
			if err := listing.WriteJSON(z); err == nil {
				_ = z.Close() // fails when the client has left
			}
			return nil
		}
	}
	_ = listing.WriteJSON(out) // fails when the client has left
	return nil
}

// gzipWriter compresses one listing at a time.
type gzipWriter = gzip.Writer

// compressor gives an idle compressor; nil if the client does not want compression, or all of them are busy.
func (h *Handler) compressor(header http.Header) *gzipWriter {
	if !acceptsGzip(header.Values("Accept-Encoding")) {
		return nil
	}
	select {
	case z := <-h.gzips:
		if z == nil {
			z, _ = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
		}
		return z
	default:
		return nil
	}
}

func (h *Handler) putBack(z *gzipWriter) {
	z.Reset(io.Discard) // the compressor keeps no answer in memory
	h.gzips <- z
}

// acceptsGzip parses Accept-Encoding: gzip or * is named, and not with q=0.
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

// countWriter counts the bytes that are written.
type countWriter int64

func (c *countWriter) Write(b []byte) (int, error) {
	*c += countWriter(len(b))
	return len(b), nil
}
