package service

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"

	"canopy/discovery"
)

// defaultSize is the size of a token without one (D31).
const defaultSize = 3

// newToken gives 128 random bits.
func newToken() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// serveNew makes a token, and answers with its URL (D31).
func (s *Service) serveNew(w http.ResponseWriter, r *http.Request) {
	size := defaultSize
	if text := r.FormValue("size"); text != "" {
		var err error
		if size, err = discovery.ParseSize(text); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if !s.newTokenLimit.allow(s.address(r)) {
		tooMany(w)
		return
	}
	token := newToken()
	if err := s.store.create(r.Context(), token, strconv.Itoa(size), s.o.TokenTTL); err != nil {
		s.o.Log.Warnf("make a token: %v", err)
		http.Error(w, "Unable to generate token", http.StatusServiceUnavailable)
		return
	}
	s.o.Log.Infof("made a token for %d members, for %v", size, s.address(r))
	writeText(w, fmt.Sprintf("%s/%s", s.base(r), token))
}
