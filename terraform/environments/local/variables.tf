variable "python" {
  description = "The Python interpreter in which this project is installed with its extra \"lab\"."
  type        = string
}

variable "directory" {
  description = "Where the server is made: an absolute path, given over to it altogether."
  type        = string
}

variable "port" {
  description = "The port on 127.0.0.1, as lab-up set it aside."
  type        = number
}
