package service

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// counted counts the requests that a handler has answered, by status and method
// (D34).
func counted(registry *prometheus.Registry, name, help string, h http.HandlerFunc) http.Handler {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"code", "method"})
	registry.MustRegister(c)
	return promhttp.InstrumentHandlerCounter(c, h)
}
