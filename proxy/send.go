package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"canopy/proxy/upstream"
)

// An exchange is a request that a member has begun to answer.
type exchange struct {
	*upstream.Conn
	endpoint *upstream.Endpoint
	answer   *http.Response
	upload   *upload
	unbind   func() bool // ends the effect of the context on the connection
}

// An upload sends a large body while its answer is read.
type upload struct {
	body  *body
	done  chan struct{} // closed at its end
	whole bool          // all of it was sent; valid after done
}

// noEndpointError tells that no endpoint answered a request.
type noEndpointError struct {
	tried   int
	unknown bool // the request may have been carried out
}

// Error is the text of P34.
func (e *noEndpointError) Error() string {
	switch {
	case e.tried == 0:
		return "proxy: zero endpoints currently available"
	case e.unknown:
		return fmt.Sprintf("proxy: unable to get response from %d endpoint(s); the outcome is unknown, the request may have been done", e.tried)
	}
	return fmt.Sprintf("proxy: unable to get response from %d endpoint(s)", e.tried)
}

// try is the outcome of one attempt at an endpoint.
type try int

// The outcomes of a try without an answer.
const (
	unsent try = iota // no byte of the request was sent
	lost              // it was sent, and no answer came
)

// send tries one endpoint after the other until one answers. It records them in the request, so that sending it again
// continues from there. The error is that of ctx or of the client's body, or a *noEndpointError.
func (p *Proxy) send(ctx context.Context, w http.ResponseWriter, q *request) (*exchange, error) {
	for {
		e, c := p.cluster.Choose(q.tried, q.fresh)
		if e == nil {
			return nil, &noEndpointError{tried: len(q.tried)}
		}
		x, how, err := p.sendTo(ctx, w, q, e, c)
		switch {
		case err == nil:
			p.judgeSilent(q, e)
			return x, nil
		case q.body != nil && q.body.failure != nil:
			q.body.failure.cut = q.body.failure.cut || ctx.Err() != nil
			return nil, q.body.failure
		case ctx.Err() != nil && (q.body == nil || !q.body.forgot): // else the end of an upload may have ended ctx
			return nil, ctx.Err()
		}
		p.metrics.dropped(q.method, how)
		if how == lost && !q.repeatable() {
			p.cluster.ProbeSoon()
			p.o.Log.Warnf("proxy: %s may have carried out a %s, or not: %v", e.URL, q.method, err)
			return nil, &noEndpointError{tried: max(1, len(q.tried)), unknown: true}
		}
		if q.body != nil && q.body.forgot {
			return nil, &noEndpointError{tried: max(1, len(q.tried)), unknown: how == lost}
		}
	}
}

// sendTo sends a request to an endpoint, on an idle connection or else on a fresh one. A dead idle connection says nothing
// about the endpoint, so it does not count as tried.
func (p *Proxy) sendTo(ctx context.Context, w http.ResponseWriter, q *request, e *upstream.Endpoint, c *upstream.Conn) (*exchange, try, error) {
	reused := c != nil
	if !reused {
		q.tried = append(q.tried, e)
		var err error
		if c, err = e.Dial(ctx); err != nil {
			if ctx.Err() == nil && !upstream.IsOwnFault(err) {
				p.cluster.MarkUnavailable(e, err.Error())
			}
			return nil, unsent, err
		}
	}
	x, how, err := p.over(ctx, w, q, e, c)
	frozen := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case err == nil || ctx.Err() != nil:
	case !reused || frozen:
		q.silent = append(q.silent, e)
	default:
		q.fresh = true
		e.Distrust()
		p.cluster.ProbeSoon()
	}
	if err != nil && reused && (frozen || how == lost && !q.repeatable()) {
		q.tried = append(q.tried, e)
	}
	return x, how, err
}

// over sends a request on a connection, and reads the head of the answer. Without an answer it closes the connection.
func (p *Proxy) over(ctx context.Context, w http.ResponseWriter, q *request, e *upstream.Endpoint, c *upstream.Conn) (*exchange, try, error) {
	x := &exchange{Conn: c, endpoint: e}
	if q.watch {
		e.Hold(c)
	}
	x.unbind = context.AfterFunc(ctx, c.Interrupt)
	patience := p.answerTime(q)
	if q.body != nil {
		patience += p.o.BodyTimeout
	}
	c.ExpectBy(patience)
	sent, err := c.Send(q.head)
	if err == nil {
		if q.body != nil {
			x.startUpload(p, q.body)
		}
		x.answer, err = c.Receive(q.method)
	}
	if err != nil {
		x.abort(w)
		if sent {
			return nil, lost, err
		}
		return nil, unsent, err
	}
	e.MarkAnswered()
	if x.answer.Close && !(q.watch && isChunked(x.answer)) { // a stream does not give its connection back
		markStopping(e, x.answer)
	}
	return x, 0, nil
}

// startUpload sends a large body while the answer is awaited: a member may refuse before it has read everything.
func (x *exchange) startUpload(p *Proxy, b *body) {
	x.upload = &upload{body: b, done: make(chan struct{})}
	go func() { // endUpload waits for it
		defer close(x.upload.done)
		buffer := p.buffer()
		defer p.release(buffer)
		err := b.sendTo(x.Conn, *buffer)
		x.upload.whole = err == nil
		if b.failure != nil {
			x.Close() // the member must not wait for the rest of half a body
		}
	}()
}

// release ends the effect of the context, and everything that depends on it.
func (x *exchange) release() (untouched bool) {
	untouched = x.unbind()
	x.unbind = nil
	return untouched
}

// abort closes the connection, and waits until nothing uses it any more.
func (x *exchange) abort(w http.ResponseWriter) {
	x.release()
	x.Close()
	x.endUpload(w)
}

// endUpload waits for the end of an upload on a closed connection. If the upload still reads from the client, that read is
// made to fail.
func (x *exchange) endUpload(w http.ResponseWriter) {
	if x.upload == nil || x.upload.ended() {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	<-x.upload.done
	if failure := x.upload.body.failure; failure != nil && errors.Is(failure, os.ErrDeadlineExceeded) { // the client did not fail
		x.upload.body.failure = nil
		x.upload.body.forget()
	}
}

// ended tells whether the upload has ended.
func (u *upload) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// done ends an exchange whose answer was read to its end. The connection can be used again, unless there is more input.
func (x *exchange) done(w http.ResponseWriter) {
	x.Unhold()
	clean := x.release() && !x.answer.Close && x.IsClean()
	if x.upload != nil {
		clean = clean && x.upload.ended() && x.upload.whole
	}
	if clean {
		x.endpoint.Give(x.Conn)
		return
	}
	x.Close()
	x.endUpload(w)
}

// judgeSilent makes endpoints unavailable that did not answer what another one did (P17).
func (p *Proxy) judgeSilent(q *request, answered *upstream.Endpoint) {
	for _, e := range q.silent {
		if e != answered {
			p.cluster.MarkUnavailable(e, "no response to a request that "+answered.URL+" answered")
		}
	}
	q.silent = nil
}

// markStopping makes an endpoint a second choice for a while. A member whose answer closes the connection is about to stop,
// unless it closes because it did not understand the request.
func markStopping(e *upstream.Endpoint, answer *http.Response) {
	if answer.StatusCode < http.StatusBadRequest || answer.StatusCode == http.StatusNotFound {
		e.MarkStopping()
	}
}

// another tells whether another endpoint could answer what this one declined.
func (p *Proxy) another(q *request) bool {
	return (q.body == nil || !q.body.forgot) && p.cluster.Next(q.tried) != nil
}
