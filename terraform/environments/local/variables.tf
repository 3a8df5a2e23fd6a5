variable "python" {
  description = "The Python interpreter in which this project is installed with its extra \"lab\"."
  type        = string
}

variable "directory" {
  description = "The server's directory: an absolute path, used by nothing else."
  type        = string
}

variable "port" {
  description = "The port on 127.0.0.1 that lab-up.yml reserved."
  type        = number
}
