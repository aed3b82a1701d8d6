"""What the backbone consumes: plain tensors that a method compiles to."""

from foreword.injections.injection import Injection as Injection
from foreword.injections.injection import KeyValues as KeyValues
from foreword.injections.injection import SoftTokens as SoftTokens
from foreword.injections.injection import Weights as Weights
