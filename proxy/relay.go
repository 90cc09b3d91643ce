package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"canopy/proxy/upstream"
)

// headBytes is enough for most heads; a head larger than headBytesKept is not kept for the next request.
const (
	headBytes     = 1 << 10
	headBytesKept = 16 << 10
)

// forward makes a member carry out a request, and gives the client the answer.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	head := p.heads.Get().(*[]byte)
	q, err := p.newRequest(r, (*head)[:0])
	if err == nil {
		err = p.addBody(q, w, r)
	}
	defer p.releaseHead(head, q)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	ctx := r.Context()
	if q.watch {
		end, err := p.watches.enter(&ctx)
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		defer end()
	}
	begin := time.Now()
	for {
		x, err := p.send(ctx, w, q)
		if err != nil && p.await(ctx, q, err) {
			continue
		}
		if err != nil {
			p.refuse(w, r, err)
			return
		}
		status, took := x.answer.StatusCode, time.Since(begin)
		if !p.relay(ctx, w, r, q, x) {
			p.metrics.handled(q.method, status, took)
			return
		}
	}
}

// releaseHead keeps a head for the next request, unless it is large or a stream still uses it, and releases the body.
func (p *Proxy) releaseHead(head *[]byte, q *request) {
	if q != nil && q.body != nil {
		q.body.forget()
	}
	if q != nil && !q.streams && cap(q.head) <= headBytesKept {
		*head = q.head
		p.heads.Put(head)
	}
}

// relay sends an answer to the client. It tells whether the request must go to another endpoint instead, since this one
// declined, or failed in the middle of an answer that can be requested again.
func (p *Proxy) relay(ctx context.Context, w http.ResponseWriter, r *http.Request, q *request, x *exchange) (again bool) {
	switch status := x.answer.StatusCode; {
	case status == http.StatusServiceUnavailable:
		p.cluster.ProbeSoon()
		if p.another(q) {
			x.abort(w)
			return true
		}
	case status == http.StatusLoopDetected && x.answer.Header[upstream.HeaderProxies] != nil:
		if x.answer.Header.Get(upstream.HeaderProxies) == p.id { // else it leads back to a proxy in front of this one
			p.cluster.MarkUnavailable(x.endpoint, upstream.ErrLeadsBack.Error())
		}
		if p.another(q) {
			x.abort(w)
			return true
		}
	case status == http.StatusOK && q.watch && isChunked(x.answer):
		p.relayWatch(ctx, w, r, q, x)
		return false
	}
	if n := x.answer.ContentLength; n >= 0 && n <= bufferBytes || q.method == http.MethodHead {
		return p.relaySmall(w, r, q, x)
	}
	out, ok := p.newWriter(w, q, bufferBytes+upstream.ReaderBytes)
	if !ok {
		x.abort(w)
		p.refuse(w, r, errMemory)
		return false
	}
	defer out.end()
	p.copyHeader(w.Header(), x.answer.Header)
	w.WriteHeader(x.answer.StatusCode)
	if err := p.copyBody(out, q, x); err != nil {
		x.abort(w)
		panic(http.ErrAbortHandler) // so that the client sees a cut
	}
	x.done(w)
	return false
}

// relaySmall reads the complete answer before it sends any of it.
func (p *Proxy) relaySmall(w http.ResponseWriter, r *http.Request, q *request, x *exchange) (again bool) {
	buffer := p.buffer()
	defer p.release(buffer)
	var text []byte
	if q.method != http.MethodHead {
		text = (*buffer)[:x.answer.ContentLength]
	}
	if _, err := io.ReadFull(x.answer.Body, text); err != nil {
		x.abort(w)
		if q.repeatable() && p.another(q) {
			return true
		}
		p.refuse(w, r, &noEndpointError{tried: len(q.tried), unknown: !q.repeatable()})
		return false
	}
	x.done(w)
	p.copyHeader(w.Header(), x.answer.Header)
	w.WriteHeader(x.answer.StatusCode)
	if len(text) > freeBytes {
		out := p.newWriterAnyway(w, int64(len(text)))
		defer out.end()
		_ = out.write(text) // fails if the client has left
	} else if len(text) > 0 {
		_, _ = w.Write(text)
	}
	return false
}

// copyBody sends a body on as it arrives. A member has answerTime for each part, and the client clientTimeout.
func (p *Proxy) copyBody(out *patientWriter, q *request, x *exchange) error {
	buffer := p.buffer()
	defer p.release(buffer)
	_ = out.control.SetReadDeadline(time.Time{}) // of the request
	for {
		x.ExpectBy(p.answerTime(q))
		n, err := x.answer.Body.Read(*buffer)
		if n > 0 {
			if err := out.write((*buffer)[:n]); err != nil {
				return err
			}
			if x.answer.ContentLength < 0 {
				if err := out.control.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// answerTime is how long a member may take to begin or continue its answer.
func (p *Proxy) answerTime(q *request) time.Duration {
	if q.watch {
		return p.o.ReadTimeout
	}
	return p.cluster.AnswerTime()
}

// copyHeader copies the headers that are not for one connection only (P26). If this proxy decides about web pages, it leaves
// out the headers of members about that (S46).
func (p *Proxy) copyHeader(to, from http.Header) {
	named := connectionNames(from)
	replaced := len(p.o.Origins) > 0
	for name, values := range from {
		if isHop(name) || slices.Contains(named, name) || replaced && strings.HasPrefix(name, "Access-Control-") {
			continue
		}
		if replaced && name == "Vary" {
			values = append(values, to[name]...)
		}
		to[name] = values
	}
	if _, typed := from["Content-Type"]; !typed {
		to["Content-Type"] = nil // net/http would guess one
	}
}

// refuse answers a request that no member has answered (P34).
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if cut := (*bodyError)(nil); errors.As(err, &cut) {
		p.refuseBody(w, r, cut)
		return
	}
	if errors.Is(err, context.Canceled) {
		p.o.Log.Debugf("proxy: client %s closed request prematurely", r.RemoteAddr)
		panic(http.ErrAbortHandler)
	}
	status := http.StatusBadGateway
	var none *noEndpointError
	switch {
	case errors.Is(err, errLoop):
		status = http.StatusLoopDetected
		w.Header().Set(upstream.HeaderProxies, p.id)
	case errors.Is(err, errTarget):
		status = http.StatusBadRequest
	case errors.Is(err, errMemory):
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, errClosing):
		status = http.StatusServiceUnavailable
	case errors.As(err, &none) && none.tried == 0:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
		p.metrics.droppedForNone(r.Method)
		p.cluster.RefreshSoon()
	}
	p.o.Log.Debugf("%s %s: %v", r.Method, r.URL.Path, err)
	writeMessage(w, status, err.Error())
}

// refuseBody answers a request whose body did not arrive completely, as a member does. The context of such a request has
// ended, but a client that closed only its sending side still gets the answer.
func (p *Proxy) refuseBody(w http.ResponseWriter, r *http.Request, cut *bodyError) {
	p.o.Log.Debugf("%s %s: the body: %v", r.Method, r.URL.Path, cut)
	if errors.Is(cut.cause, os.ErrDeadlineExceeded) {
		p.o.Refused("slow_body")
	}
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // the start of the next request is not known
	}
	if !strings.HasPrefix(r.URL.Path, "/v2/keys") {
		writeMessage(w, http.StatusBadRequest, cut.Error())
		return
	}
	w.Header().Set("X-Etcd-Index", "0")
	writeJSON(w, http.StatusBadRequest, struct {
		Code    int    `json:"errorCode"`
		Message string `json:"message"`
		Cause   string `json:"cause"`
		Index   uint64 `json:"index"`
	}{210, "Invalid POST form", cut.Error(), 0}, "\n")
}

// writeMessage answers in shape B of errors.md.
func writeMessage(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"message": text}, "")
}

// writeJSON answers with v, which always has a JSON form, followed by end.
func writeJSON(w http.ResponseWriter, status int, v any, end string) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, end...)) // fails if the client has left
}
