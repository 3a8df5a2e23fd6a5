@extends('layouts.app')

@foreach ($tasks as $task)
    <p>{{ $task->title }}</p>
@endforeach
