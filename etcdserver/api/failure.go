package api

import (
	"errors"
	"net/http"
	"strconv"

	"canopy/etcdserver"
	"canopy/etcdserver/api/accounts"
	"canopy/etcdserver/api/answer"
	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
	"canopy/etcdserver/metrics"
	"canopy/internal/memory"
	"canopy/store"
	"canopy/store/watch"
)

// writeKeysError answers in shape A (E4, E5), and returns the status.
func (h *Handler) writeKeysError(w http.ResponseWriter, r *http.Request, err error) int {
	status, e := asKeysError(err)
	header := w.Header()
	h.answers.PutIndex(header, e.Index)
	if status == http.StatusUnauthorized {
		accounts.Challenge(w)
		h.o.Metrics.Refused("rights")
		if !errors.Is(err, accounts.ErrCredentials) {
			h.o.Metrics.Logins.Refused(metrics.NoRight)
		}
	}
	if errors.Is(err, login.ErrBusy) {
		h.answers.PutRetry(header)
		h.answers.Message(w, r, http.StatusServiceUnavailable, err.Error())
		return http.StatusServiceUnavailable
	}
	if errors.Is(err, memory.ErrUsedUp) || errors.Is(err, etcdserver.ErrTooBusy) {
		h.answers.PutRetry(header)
	}
	buffer := h.answers.Buffer()
	defer h.answers.Release(buffer)
	*buffer = appendKeysError(*buffer, e)
	h.answers.Body(w, r, status, *buffer)
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
	case errors.Is(err, accounts.ErrCredentials), errors.As(err, new(*auth.DeniedError)):
		return http.StatusUnauthorized, &store.Error{Code: store.CodeUnauthorized, Cause: "Insufficient credentials"} // A12
	case errors.Is(err, errTooManyWatches), errors.Is(err, memory.ErrUsedUp):
		return http.StatusServiceUnavailable, e
	case errors.Is(err, etcdserver.ErrTooLarge):
		return http.StatusBadRequest, &store.Error{Code: store.CodeInvalidForm, Cause: err.Error()}
	}
	return answer.StatusOfFailure(err), e
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
	b = answer.AppendJSON(b, e.Code.Message())
	if e.Cause != "" {
		b = append(b, `,"cause":`...)
		b = answer.AppendJSON(b, e.Cause)
	}
	b = append(b, `,"index":`...)
	b = strconv.AppendUint(b, uint64(e.Index), 10)
	return append(b, '}', '\n')
}
