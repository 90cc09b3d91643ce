package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// logLevelBytes bounds the body of a request to set the log level.
const logLevelBytes = 4 << 10

// LogLevel sets the log level of this process (S37).
func (h *Handler) LogLevel(w http.ResponseWriter, r *http.Request) {
	var wanted struct{ Level string }
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, logLevelBytes))
	if err == nil {
		err = json.Unmarshal(body, &wanted)
	}
	if err != nil {
		h.Answers.Message(w, r, http.StatusBadRequest, "Invalid json body")
		return
	}
	level, known := logrusLevel(wanted.Level)
	if !known || h.SetLogLevel(level) != nil {
		h.Answers.Message(w, r, http.StatusBadRequest, "Invalid log level "+wanted.Level)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// logrusLevel gives the logrus name of a level of etcd: a name, its first letter, or a number from ERROR to TRACE.
func logrusLevel(name string) (level string, known bool) {
	switch strings.ToUpper(name) {
	case "CRITICAL", "C":
		return "fatal", true
	case "ERROR", "E", "0":
		return "error", true
	case "WARNING", "WARN", "W", "1":
		return "warning", true
	case "NOTICE", "N", "2", "INFO", "I", "3":
		return "info", true
	case "DEBUG", "D", "4":
		return "debug", true
	case "TRACE", "T", "5":
		return "trace", true
	}
	return "", false
}
