package process

import (
	"github.com/sirupsen/logrus"

	"canopy/internal/middleware"
)

// AccessLog gives the function that logs each request; nil if it is off.
func (p *Process) AccessLog(on bool) func(middleware.Access) {
	if !on {
		return nil
	}
	return func(a middleware.Access) {
		p.Log.WithFields(logrus.Fields{
			"method": a.Method, "path": a.Path, "remote": a.RemoteAddr, "status": a.Status,
			"bytes": a.Bytes, "duration_seconds": a.Duration.Seconds(), "agent": a.UserAgent,
		}).Info("access")
	}
}
