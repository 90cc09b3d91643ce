package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"canopy/etcdserver"
	"canopy/etcdserver/api/accounts"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
	"canopy/internal/memory"
	"canopy/store"
	"canopy/store/watch"
)

// Names of headers, in the canonical form that header maps are indexed by.
const (
	headerType      = "Content-Type"
	headerLength    = "Content-Length"
	headerClusterID = "X-Etcd-Cluster-Id"
	headerIndex     = "X-Etcd-Index"
	headerRaftIndex = "X-Raft-Index"
	headerRaftTerm  = "X-Raft-Term"
	headerVersion   = "X-Canopy-Version"
	headerRetry     = "Retry-After"
)

// constantHeaders are header values that all answers share. Nobody may change them.
type constantHeaders struct {
	json, text []string
	clusterID  []string
	zero       []string
	retry      []string // of Retry-After, in seconds
	version    []string
	keysLines  string // those of a successful keys answer, up to its index
}

func newConstantHeaders(m Member, o Options) constantHeaders {
	return constantHeaders{
		json:      []string{"application/json"},
		text:      []string{"text/plain; charset=utf-8"},
		clusterID: []string{m.ClusterID().String()},
		zero:      []string{"0"},
		retry:     []string{"1"},
		version:   []string{o.Version},
		keysLines: headerType + ": application/json\r\n" + headerClusterID + ": " + m.ClusterID().String() + "\r\n" + headerIndex + ": ",
	}
}

// putPositions sets the headers of a successful keys answer (K31).
func (h *Handler) putPositions(header http.Header, index store.Index) {
	raftIndex, raftTerm := h.member.Position()
	header[headerType] = h.names.json
	header[headerClusterID] = h.names.clusterID
	header[headerIndex] = []string{strconv.FormatUint(uint64(index), 10)}
	header[headerRaftIndex] = []string{strconv.FormatUint(raftIndex, 10)}
	header[headerRaftTerm] = []string{strconv.FormatUint(raftTerm, 10)}
}

// appendPositions appends the headers of putPositions as lines.
func (h *Handler) appendPositions(b []byte, index store.Index) []byte {
	raftIndex, raftTerm := h.member.Position()
	b = append(b, h.names.keysLines...)
	b = strconv.AppendUint(b, uint64(index), 10)
	b = append(b, "\r\n"+headerRaftIndex+": "...)
	b = strconv.AppendUint(b, raftIndex, 10)
	b = append(b, "\r\n"+headerRaftTerm+": "...)
	b = strconv.AppendUint(b, raftTerm, 10)
	return append(b, "\r\n"...)
}

// writeKeys writes a successful keys answer.
func (h *Handler) writeKeys(w http.ResponseWriter, r *http.Request, status int, index store.Index, body []byte) {
	lines, ok := w.(interface{ HeaderLines() *[]byte }) // see http1
	if ok && len(w.Header()) == 0 && len(body) <= autoLength && r.Method != http.MethodHead {
		b := lines.HeaderLines()
		*b = h.appendPositions(*b, index)
	} else {
		h.putPositions(w.Header(), index)
	}
	h.writeBody(w, r, status, body)
}

// autoLength is the size up to which net/http finds the length of an answer by itself. A larger answer, or one to HEAD,
// needs a Content-Length.
const autoLength = 2048

// writeBody writes an answer whose headers are set but for its length.
func (h *Handler) writeBody(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	head := r.Method == http.MethodHead
	if head || len(body) > autoLength {
		w.Header()[headerLength] = []string{strconv.Itoa(len(body))}
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	switch {
	case head:
	case len(body) <= freeAnswerBytes:
		_, _ = w.Write(body) // fails when the client has left
	default:
		_ = h.writePieces(w, body) // as above
	}
}

const (
	// pieceBytes is how much of an answer a client must read within WriteTimeout.
	pieceBytes = 64 << 10
	// freeAnswerBytes is the size up to which the memory of the connection covers an answer. Such an answer has no time-out
	// either: the socket takes it at once.
	freeAnswerBytes = 16 << 10
)

// writePieces writes a large body as long as the client reads it. The body is complete, and others may write it as well.
func (h *Handler) writePieces(w http.ResponseWriter, body []byte) error {
	out := h.patient(w)
	out.hold = h.o.Memory.HoldAnyway(memory.Answer{Shared: &body[0], Bytes: int64(len(body)), Cut: out.cut})
	defer out.hold.End()
	for piece := range slices.Chunk(body, pieceBytes) {
		if _, err := out.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// writeKeysError answers in shape A (E4, E5), and returns the status.
func (h *Handler) writeKeysError(w http.ResponseWriter, r *http.Request, err error) int {
	status, e := asKeysError(err)
	header := w.Header()
	header[headerType] = h.names.json
	header[headerClusterID] = h.names.clusterID
	header[headerIndex] = h.names.zero
	if e.Index != 0 {
		header[headerIndex] = []string{strconv.FormatUint(uint64(e.Index), 10)}
	}
	if status == http.StatusUnauthorized {
		accounts.Challenge(w)
		h.o.Metrics.Refused("rights")
	}
	if errors.Is(err, login.ErrBusy) {
		header[headerRetry] = h.names.retry
		h.writeMessage(w, r, http.StatusServiceUnavailable, err.Error())
		return http.StatusServiceUnavailable
	}
	if errors.Is(err, memory.ErrUsedUp) || errors.Is(err, etcdserver.ErrTooBusy) {
		header[headerRetry] = h.names.retry
	}
	buffer := h.buffer()
	defer h.release(buffer)
	*buffer = appendKeysError(*buffer, e)
	h.writeBody(w, r, status, *buffer)
	return status
}

// asKeysError finds code, cause and status of an error (E7, E25).
func asKeysError(err error) (status int, e *store.Error) {
	if errors.As(err, &e) {
		return statusOf(e.Code), e
	}
	var ended *watch.EndedError
	if errors.As(err, &ended) && !errors.Is(err, etcdserver.ErrInconsistent) {
		err = etcdserver.ErrStopped // a watch is refused for no other reason
	}
	e = &store.Error{Code: store.CodeRaftInternal, Cause: err.Error()}
	switch {
	case errors.As(err, new(*auth.DeniedError)):
		return http.StatusUnauthorized, &store.Error{Code: store.CodeUnauthorized, Cause: "Insufficient credentials"} // A12
	case errors.Is(err, errTooManyWatches), errors.Is(err, memory.ErrUsedUp):
		return http.StatusServiceUnavailable, e
	case errors.Is(err, etcdserver.ErrTooLarge):
		return http.StatusBadRequest, &store.Error{Code: store.CodeInvalidForm, Cause: err.Error()}
	}
	return statusOfFailure(err), e
}

// statusOfFailure is the status of an error of the member. Proxies and clients repeat a write that is answered 503 or 507,
// so only errors of writes that are not applied have these.
func statusOfFailure(err error) int {
	switch {
	case etcdserver.OutcomeOf(err) != etcdserver.NotApplied:
		return http.StatusInternalServerError
	case errors.Is(err, etcdserver.ErrNoSpace):
		return http.StatusInsufficientStorage
	}
	return http.StatusServiceUnavailable
}

// statusOf is the table of E7.
func statusOf(c store.Code) int {
	switch c {
	case store.CodeKeyNotFound:
		return http.StatusNotFound
	case store.CodeCompareFailed, store.CodeExists:
		return http.StatusPreconditionFailed
	case store.CodeNotFile, store.CodeDirNotEmpty:
		return http.StatusForbidden
	case store.CodeUnauthorized:
		return http.StatusUnauthorized
	case store.CodeRaftInternal:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// appendKeysError appends the body of shape A with its newline.
func appendKeysError(b []byte, e *store.Error) []byte {
	b = append(b, `{"errorCode":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"message":`...)
	b = appendJSON(b, e.Code.Message())
	if e.Cause != "" {
		b = append(b, `,"cause":`...)
		b = appendJSON(b, e.Cause)
	}
	b = append(b, `,"index":`...)
	b = strconv.AppendUint(b, uint64(e.Index), 10)
	return append(b, '}', '\n')
}

// appendJSON appends v as JSON, escaped as K34 says. v is of a type that cannot fail to be encoded.
func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// writeMessage answers in shape B, which ends without a newline (E1).
func (h *Handler) writeMessage(w http.ResponseWriter, r *http.Request, status int, message string) {
	h.writeJSON(w, r, status, struct {
		Message string `json:"message"`
	}{message}, "")
}

// writeJSON answers with v, followed by end.
func (h *Handler) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any, end string) {
	w.Header()[headerType] = h.names.json
	h.writeBody(w, r, status, append(appendJSON(nil, v), end...))
}

// refuseMethod answers in shape C; Allow names the allowed methods, if there are any (E41).
func refuseMethod(w http.ResponseWriter, allow string) {
	if allow != "" {
		w.Header().Set("Allow", allow)
	}
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

// buffer gives an empty buffer; release takes it back.
func (h *Handler) buffer() *[]byte {
	b := h.buffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// keptBufferBytes is the size up to which a buffer is kept for reuse.
const keptBufferBytes = 64 << 10

func (h *Handler) release(b *[]byte) {
	if cap(*b) <= keptBufferBytes {
		h.buffers.Put(b)
	}
}
