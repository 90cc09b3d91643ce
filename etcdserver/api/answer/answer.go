// Package answer writes the answers of the client API: headers, short and long bodies, and messages of errors. An answer
// never waits for its client without bound: a client that does not read a piece in time is cut off.
package answer

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"canopy/etcdserver"
	"canopy/internal/memory"
	"canopy/store"
)

// Names of headers, in the canonical form that header maps are indexed by.
const (
	HeaderType      = "Content-Type"
	HeaderLength    = "Content-Length"
	HeaderClusterID = "X-Etcd-Cluster-Id"
	HeaderIndex     = "X-Etcd-Index"
	HeaderRaftIndex = "X-Raft-Index"
	HeaderRaftTerm  = "X-Raft-Term"
	HeaderRetry     = "Retry-After"
)

// Options are the settings of a Writer.
type Options struct {
	Cluster  string                              // its ID, shown with most answers
	Position func() (raftIndex, raftTerm uint64) // the last applied entry of the log
	Memory   *memory.Budget                      // for what large answers hold
	Timeout  time.Duration                       // for a client to take PieceBytes
}

// A Writer writes answers of one member. It is used by any number of goroutines.
type Writer struct {
	o       Options
	names   constantHeaders
	buffers sync.Pool // *[]byte, for bodies either way
}

// New makes a writer.
func New(o Options) *Writer {
	w := &Writer{o: o, names: newConstantHeaders(o.Cluster)}
	w.buffers.New = func() any { return new(make([]byte, 0, 1024)) }
	return w
}

// constantHeaders are header values that all answers share. Nobody may change them.
type constantHeaders struct {
	json, text []string
	clusterID  []string
	zero       []string
	retry      []string // of Retry-After, in seconds
	keysLines  string   // those of a successful keys answer, up to its index
}

func newConstantHeaders(cluster string) constantHeaders {
	return constantHeaders{
		json:      []string{"application/json"},
		text:      []string{"text/plain; charset=utf-8"},
		clusterID: []string{cluster},
		zero:      []string{"0"},
		retry:     []string{"1"},
		keysLines: HeaderType + ": application/json\r\n" + HeaderClusterID + ": " + cluster + "\r\n" + HeaderIndex + ": ",
	}
}

// PutJSON says that the body is JSON.
func (a *Writer) PutJSON(header http.Header) { header[HeaderType] = a.names.json }

// PutText says that the body is text.
func (a *Writer) PutText(header http.Header) { header[HeaderType] = a.names.text }

// PutCluster names the cluster.
func (a *Writer) PutCluster(header http.Header) { header[HeaderClusterID] = a.names.clusterID }

// PutRetry asks the client to try again soon.
func (a *Writer) PutRetry(header http.Header) { header[HeaderRetry] = a.names.retry }

// PutIndex sets the headers of a keys answer without a position in the log: one with an error.
func (a *Writer) PutIndex(header http.Header, index store.Index) {
	a.PutJSON(header)
	a.PutCluster(header)
	header[HeaderIndex] = a.names.zero
	if index != 0 {
		header[HeaderIndex] = []string{strconv.FormatUint(uint64(index), 10)}
	}
}

// PutPositions sets the headers of a successful keys answer (K31).
func (a *Writer) PutPositions(header http.Header, index store.Index) {
	raftIndex, raftTerm := a.o.Position()
	header[HeaderType] = a.names.json
	header[HeaderClusterID] = a.names.clusterID
	header[HeaderIndex] = []string{strconv.FormatUint(uint64(index), 10)}
	header[HeaderRaftIndex] = []string{strconv.FormatUint(raftIndex, 10)}
	header[HeaderRaftTerm] = []string{strconv.FormatUint(raftTerm, 10)}
}

// appendPositions appends the headers of PutPositions as lines.
func (a *Writer) appendPositions(b []byte, index store.Index) []byte {
	raftIndex, raftTerm := a.o.Position()
	b = append(b, a.names.keysLines...)
	b = strconv.AppendUint(b, uint64(index), 10)
	b = append(b, "\r\n"+HeaderRaftIndex+": "...)
	b = strconv.AppendUint(b, raftIndex, 10)
	b = append(b, "\r\n"+HeaderRaftTerm+": "...)
	b = strconv.AppendUint(b, raftTerm, 10)
	return append(b, "\r\n"...)
}

// Keys writes a successful keys answer.
func (a *Writer) Keys(w http.ResponseWriter, r *http.Request, status int, index store.Index, body []byte) {
	lines, ok := w.(interface{ HeaderLines() *[]byte }) // see http1
	if ok && len(w.Header()) == 0 && len(body) <= autoLength && r.Method != http.MethodHead {
		b := lines.HeaderLines()
		*b = a.appendPositions(*b, index)
	} else {
		a.PutPositions(w.Header(), index)
	}
	a.Body(w, r, status, body)
}

// autoLength is the size up to which net/http finds the length of an answer by itself. A larger answer, or one to HEAD,
// needs a Content-Length.
const autoLength = 2048

// Body writes an answer whose headers are set but for its length.
func (a *Writer) Body(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	head := r.Method == http.MethodHead
	if head || len(body) > autoLength {
		w.Header()[HeaderLength] = []string{strconv.Itoa(len(body))}
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	switch {
	case head:
	case len(body) <= FreeBytes:
		_, _ = w.Write(body) // fails when the client has left
	default:
		_ = a.Pieces(w, body) // as above
	}
}

const (
	// PieceBytes is how much of an answer a client must read within Options.Timeout.
	PieceBytes = 64 << 10
	// FreeBytes is the size up to which the memory of the connection covers an answer. Such an answer has no time-out
	// either: the socket takes it at once.
	FreeBytes = 16 << 10
)

// Pieces writes a large body as long as the client reads it. The body is complete, and others may write it as well.
func (a *Writer) Pieces(w http.ResponseWriter, body []byte) error {
	out := a.Patient(w)
	out.hold = a.o.Memory.HoldAnyway(memory.Answer{Shared: &body[0], Bytes: int64(len(body)), Cut: out.Cut})
	defer out.hold.End()
	for piece := range slices.Chunk(body, PieceBytes) {
		if _, err := out.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// AppendJSON appends v as JSON, escaped as K34 says. v is of a type that cannot fail to be encoded.
func AppendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// StatusOfFailure is the status of an error of the member. Proxies and clients repeat a write that is answered 503 or 507,
// so only errors of writes that are not applied have these.
func StatusOfFailure(err error) int {
	switch {
	case etcdserver.OutcomeOf(err) != etcdserver.NotApplied:
		return http.StatusInternalServerError
	case errors.Is(err, etcdserver.ErrNoSpace):
		return http.StatusInsufficientStorage
	}
	return http.StatusServiceUnavailable
}

// Message answers in shape B, which ends without a newline (E1).
func (a *Writer) Message(w http.ResponseWriter, r *http.Request, status int, message string) {
	a.JSON(w, r, status, struct {
		Message string `json:"message"`
	}{message}, "")
}

// JSON answers with v, followed by end.
func (a *Writer) JSON(w http.ResponseWriter, r *http.Request, status int, v any, end string) {
	w.Header()[HeaderType] = a.names.json
	a.Body(w, r, status, append(AppendJSON(nil, v), end...))
}

// RefuseMethod answers in shape C; Allow names the allowed methods, if there are any (E41).
func RefuseMethod(w http.ResponseWriter, allow string) {
	if allow != "" {
		w.Header().Set("Allow", allow)
	}
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

// Buffer gives an empty buffer; Release takes it back.
func (a *Writer) Buffer() *[]byte {
	b := a.buffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// KeptBytes is the size up to which a buffer is kept for reuse.
const KeptBytes = 64 << 10

// Release takes a buffer back, unless it is large.
func (a *Writer) Release(b *[]byte) {
	if cap(*b) <= KeptBytes {
		a.buffers.Put(b)
	}
}

// Only serves the methods in allow and also. The Allow header names only those in allow, since old clients compare its
// text (S1, E41).
func Only(serve http.HandlerFunc, allow string, also ...string) http.HandlerFunc {
	methods := append(strings.Split(allow, ","), also...)
	return func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				serve(w, r)
				return
			}
		}
		RefuseMethod(w, allow)
	}
}
